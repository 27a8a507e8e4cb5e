//! Whether an address and an API key can be those of a server, before anything is opened with them: a typing error is told at
//! once, by the name of what was given.

use crate::error::Error;

/// What Supabase serves below a project's address.
const SERVICES: [&str; 6] = ["rest", "auth", "storage", "realtime", "functions", "graphql"];

/// The address as the platform's own parser of URLs (the WHATWG's rules in both) writes it; `None` where it is none.
#[cfg(not(target_family = "wasm"))]
fn parsed(url: &str) -> Option<String> {
    reqwest::Url::parse(url).ok().map(String::from)
}

#[cfg(target_family = "wasm")]
fn parsed(url: &str) -> Option<String> {
    web_sys::Url::new(url).ok().map(|url| url.href())
}

/// Checks what a client is to be opened with, and gives the address back as it is understood.
///
/// # Errors
/// [`Error::InvalidInput`], as `check_server` says.
pub(super) fn check(url: &str, anon_key: &str) -> Result<String, Error> {
    let invalid = |problem: &str| Err(Error::invalid("url", problem));
    let address = parsed(url.trim()).unwrap_or_default();
    // A parsed http or https address has a host.
    let Some(rest) = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")) else {
        return invalid("expected an address like https://project.supabase.co");
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return invalid("must not hold a user name or a password");
    }
    // The parser has escaped any that is part of something else.
    if path.contains(['?', '#']) {
        return invalid("expected an address without `?` and `#`, like https://project.supabase.co");
    }
    let path = format!("{path}/");
    if let Some(service) = SERVICES.iter().find(|service| path.contains(&format!("/{service}/v1/"))) {
        let problem = format!(
            "expected the address before /{service}/v1, like https://project.supabase.co; Marea adds the rest itself"
        );
        return invalid(&problem);
    }
    if anon_key.trim().is_empty() {
        return Err(Error::invalid("anon_key", "is empty; expected the project's anon or publishable key"));
    }
    if !fits_a_header(anon_key) {
        return Err(Error::invalid("anon_key", "has a character that no HTTP header can hold"));
    }
    Ok(address)
}

/// Whether a text can be a header's value: what is visible in ASCII, blanks and tabs (RFC 9110, 5.5).
pub(super) fn fits_a_header(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, anon_key: &str) -> Option<String> {
        let error = check(url, anon_key).err()?;
        assert_eq!(error.code(), "invalid_input", "{url}");
        Some(error.to_string())
    }

    #[test]
    fn only_the_address_of_a_server_is_one() {
        for url in [
            "https://x.supabase.co",
            " https://x.supabase.co/ ",
            "http://127.0.0.1:3000",
            "https://example.com/supabase",
            "https://example.com/api/v1",
            "http://[::1]:54321",
        ] {
            assert_eq!(refusal(url, "key"), None, "{url}");
        }
        for (url, told) in [
            ("", "https://project.supabase.co"),
            ("x.supabase.co", "https://project.supabase.co"),
            ("ftp://x", "https://project.supabase.co"),
            ("https://", "https://project.supabase.co"),
            ("postgres://postgres@db.x.supabase.co/postgres", "https://project.supabase.co"),
            ("https://ada:secret@x.supabase.co", "password"),
            ("https://x.supabase.co?apikey=1", "`?`"),
            ("https://x.supabase.co#", "`#`"),
            ("https://x.supabase.co/rest/v1", "before /rest/v1"),
            ("https://x.supabase.co/rest/v1/", "before /rest/v1"),
            ("https://x.supabase.co/rest/v1/rpc/marea_sync", "before /rest/v1"),
            ("https://x.supabase.co/auth/v1", "before /auth/v1"),
        ] {
            let said = refusal(url, "key").unwrap_or_else(|| panic!("{url} was taken"));
            assert!(said.starts_with("url: ") && said.contains(told), "{url}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_key_must_fit_into_a_header() {
        for key in ["", " ", "a\nb", "k\u{0}"] {
            let said = refusal("https://x.supabase.co", key).unwrap_or_else(|| panic!("{key:?} was taken"));
            assert!(said.starts_with("anon_key: "), "{said}");
        }
    }
}

//! Whether an address and an API key can be those of a server, before anything is opened with them: a typing error is told at
//! once, by the name of what was given.

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::Error;

/// What Supabase serves below a project's address.
const SERVICES: [&str; 6] = ["rest", "auth", "storage", "realtime", "functions", "graphql"];

/// Checks what a client is to be opened with, and gives the address back as it is understood.
///
/// # Errors
/// [`Error::InvalidInput`] for the field `url`: one that is no http or https address, that holds a password, a query or a
/// fragment, or that names one of the services behind the server instead of the server; for the field `anon_key`: one that is
/// empty or that no HTTP header can hold.
pub fn check_server(url: &str, anon_key: &str) -> Result<Url, Error> {
    let invalid = |problem: &str| Err(Error::invalid("url", problem));
    let address = match Url::parse(url.trim()) {
        Ok(address) if matches!(address.scheme(), "http" | "https") && address.has_host() => address,
        _ => return invalid("expected an address like https://project.supabase.co"),
    };
    if !address.username().is_empty() || address.password().is_some() {
        return invalid("must not hold a user name or a password");
    }
    if address.query().is_some() || address.fragment().is_some() {
        return invalid("expected an address without `?` and `#`, like https://project.supabase.co");
    }
    let path = format!("{}/", address.path());
    if let Some(service) = SERVICES.iter().find(|service| path.contains(&format!("/{service}/v1/"))) {
        let problem = format!(
            "expected the address before /{service}/v1, like https://project.supabase.co; Marea adds the rest itself"
        );
        return invalid(&problem);
    }
    if anon_key.trim().is_empty() {
        return Err(Error::invalid("anon_key", "is empty; expected the project's anon or publishable key"));
    }
    if HeaderValue::from_str(anon_key).is_err() {
        return Err(Error::invalid("anon_key", "has a character that no HTTP header can hold"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, anon_key: &str) -> Option<String> {
        let error = check_server(url, anon_key).err()?;
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

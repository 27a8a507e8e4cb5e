//! Whether an address and an API key can be those of a server, before anything is opened with them: a typing error is told at
//! once, by the name of what was given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

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

/// Whether tokens may go to another machine over `http://`, where everybody on the way can read and change what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainHttp {
    Refused,
    /// Somebody has asked for it by name.
    Allowed,
}

const PLAIN_HTTP: &str = "http:// to another machine lets everybody on the way read the access token and change what is sent: \
     use https://, or allow it by name (allow_http, --allow-http, MAREA_ALLOW_HTTP)";

/// Checks what a client is to be opened with, and gives the address back as it is understood.
///
/// # Errors
/// [`Error::InvalidInput`], as `check_server` says.
pub(super) fn check(url: &str, publishable_key: &str, plain_http: PlainHttp) -> Result<String, Error> {
    let invalid = |problem: &str| Err(Error::invalid("url", problem));
    let address = parsed(url.trim()).unwrap_or_default();
    // A parsed http or https address has a host.
    let Some(rest) = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")) else {
        return invalid("expected an address like https://project.supabase.co");
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_plain = address.starts_with("http://");
    if authority.contains('@') {
        return invalid("must not hold a user name or a password");
    }
    // The parser has escaped any that is part of something else.
    if path.contains(['?', '#']) {
        return invalid("expected an address without `?` and `#`, like https://project.supabase.co");
    }
    if is_plain && plain_http == PlainHttp::Refused && !is_this_machine(host_of(authority)) {
        return invalid(PLAIN_HTTP);
    }
    let path = format!("{path}/");
    if let Some(service) = SERVICES.iter().find(|service| path.contains(&format!("/{service}/v1/"))) {
        let problem = format!(
            "expected the address before /{service}/v1, like https://project.supabase.co; Marea adds the rest itself"
        );
        return invalid(&problem);
    }
    if publishable_key.trim().is_empty() {
        return Err(Error::invalid(
            "publishable_key",
            "is empty; expected the project's anon or publishable key",
        ));
    }
    if !fits_a_header(publishable_key) {
        return Err(Error::invalid("publishable_key", "has a character that no HTTP header can hold"));
    }
    if is_secret(publishable_key.trim()) {
        return Err(Error::invalid(
            "publishable_key",
            "is a secret key, which no device may have: it opens every row; expected the project's publishable (or anon) key",
        ));
    }
    Ok(address)
}

/// Whether a key is the backend's, in either form: it says so itself.
fn is_secret(key: &str) -> bool {
    let role = || {
        let payload = URL_SAFE_NO_PAD.decode(key.split('.').nth(1)?.trim_end_matches('=')).ok()?;
        serde_json::from_str::<Value>(str::from_utf8(&payload).ok()?)
            .ok()?
            .get("role")?
            .as_str()
            .map(str::to_owned)
    };
    key.starts_with("sb_secret_") || role().as_deref() == Some("service_role")
}

/// The host of a parsed address, which writes numbers as they are: `http://2130706433` is `127.0.0.1` by now.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether what is sent there stays on this machine (Secure Contexts, 3.1: "potentially trustworthy").
fn is_this_machine(host: &str) -> bool {
    is_loopback_name(host)
        || host == "[::1]"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a name is never any other machine's (RFC 6761, 6.3).
pub(super) fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// Whether a text can be a header's value: what is visible in ASCII, blanks and tabs (RFC 9110, 5.5).
pub(super) fn fits_a_header(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, publishable_key: &str) -> Option<String> {
        let error = check(url, publishable_key, PlainHttp::Refused).err()?;
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
    fn without_tls_only_this_machine_is_spoken_to() {
        for url in [
            "http://localhost",
            "http://LOCALHOST.:54321/supabase",
            "http://marea.localhost:3000",
            "http://127.0.0.1",
            "http://127.255.3.4:1",
            "http://2130706433",
            "http://0x7f.1:80",
            "http://[::1]:54321",
            "http://[0:0:0:0:0:0:0:1]",
            "https://192.168.1.5",
        ] {
            assert_eq!(refusal(url, "key"), None, "{url}");
        }
        for url in [
            "http://x.supabase.co",
            "HTTP://x.supabase.co:80",
            "http://192.168.1.5:54321",
            "http://10.0.0.1",
            "http://0.0.0.0:54321",
            "http://128.0.0.1",
            "http://[::2]:54321",
            "http://[::ffff:10.0.0.1]",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://127.0.0.1.example.com",
        ] {
            let said = refusal(url, "key").unwrap_or_else(|| panic!("{url} was taken"));
            assert!(
                said.starts_with("url: ") && said.contains("allow_http") && said.contains("https://"),
                "{said}"
            );
            check(url, "key", PlainHttp::Allowed).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        // Allowing it allows nothing else.
        assert!(check("http://ada:secret@10.0.0.1", "key", PlainHttp::Allowed).is_err());
        assert!(check("ftp://10.0.0.1", "key", PlainHttp::Allowed).is_err());
    }

    #[test]
    fn a_key_must_fit_into_a_header() {
        for key in ["", " ", "a\nb", "k\u{0}"] {
            let said = refusal("https://x.supabase.co", key).unwrap_or_else(|| panic!("{key:?} was taken"));
            assert!(said.starts_with("publishable_key: "), "{said}");
        }
    }

    #[test]
    fn a_secret_key_is_no_devices() {
        let jwt = |payload: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload));
        let service = jwt(r#"{"iss":"supabase","role":"service_role"}"#);
        for key in ["sb_secret_abc", " sb_secret_abc", &service] {
            let said = refusal("https://x.supabase.co", key).unwrap_or_else(|| panic!("{key:?} was taken"));
            assert!(said.contains("secret key") && !said.contains("abc"), "{said}");
        }
        for key in ["sb_publishable_abc", &jwt(r#"{"role":"anon"}"#), &jwt("[]"), "a.b.c", "."] {
            assert_eq!(refusal("https://x.supabase.co", key), None, "{key}");
        }
    }
}

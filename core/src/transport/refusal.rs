//! What an HTTP answer that is none of Marea's says. By the code in its body first, because only the server itself writes
//! that; a status alone may be anybody's on the way, and is no verdict on what was sent.

use super::gateway::refuses_api_key;
use super::{Response, from_json, http_date};
use crate::model::UnixMillis;
use crate::sync::Failure;

const MAX_CODE_CHARS: usize = 24;
/// `marea.moved.address` has no more.
const MAX_ADDRESS_CHARS: usize = 500;
/// What a browser says instead of the status of a redirect that it was told not to follow.
const REDIRECTED: u16 = 0;

/// An answer that is no success, as far as it tells something.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) is_page: bool,
    pub(super) body: Vec<u8>,
}

impl Refusal {
    /// The head of a response; the body is to be added.
    pub(super) fn of(response: &Response, now: Option<UnixMillis>) -> Refusal {
        let retry_after = response.header("retry-after");
        let date = response.header("date");
        Refusal {
            status: response.status(),
            retry_after_ms: retry_after.and_then(|text| retry_after_ms(&text, date.as_deref(), now)),
            is_page: is_page(response),
            body: Vec::new(),
        }
    }

    /// What it means for the client.
    pub(super) fn failure(self) -> Failure {
        let code = error_code(&self.body);
        match code.as_str() {
            // Marea's own words (`marea.refuse`).
            "PT401" => return Failure::Unauthorized { code },
            "PT409" => return Failure::UserMissing,
            "PT413" => return Failure::TooLarge,
            "PT421" => return Failure::UserMoved { address: new_address(&self.body) },
            "PT426" => return Failure::UpgradeRequired,
            // PostgREST's about the token.
            "PGRST301" | "PGRST302" | "PGRST303" => return Failure::Unauthorized { code },
            // Postgres's: `query_canceled`, and the class of limits that an answer can exceed.
            "57014" => return Failure::ServerTimeout,
            code if code.len() == 5 && code.starts_with("54") => return Failure::AnswerTooLarge,
            _ => {}
        }
        let Refusal { status, retry_after_ms, .. } = self;
        match status {
            // Network Authentication Required (RFC 6585), and a redirect: PostgREST gives none.
            511 | REDIRECTED | 300..400 => Failure::CaptivePortal,
            413 => Failure::ProxyTooLarge,
            408 | 429 | 500..600 => Failure::Server { status, retry_after_ms },
            401 | 403 if refuses_api_key(&self.body) => Failure::ApiKeyRefused,
            _ if self.is_page || starts_like_a_page(&self.body) => Failure::CaptivePortal,
            401 => Failure::Unauthorized { code },
            400..500 => Failure::Refused { status, code },
            _ => Failure::Unintelligible,
        }
    }
}

/// How long a server asks to wait (RFC 9110, 10.2.3): seconds, or a date, which is by the server's clock. Where it says what that
/// shows (6.6.1), this device's clock may be wrong by years; where not, there is only this one.
pub fn retry_after_ms(text: &str, date: Option<&str>, now: Option<UnixMillis>) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More digits than fit are as good as for ever; the schedule has a bound of its own.
        return Some(text.parse().map_or(u64::MAX, |seconds: u64| seconds.saturating_mul(1_000)));
    }
    let until = http_date(text)?;
    let from = date.and_then(http_date).or(now)?;
    Some(u64::try_from(until.0.saturating_sub(from.0)).unwrap_or(0))
}

/// A page for people where PostgREST would have written JSON: somebody between here and the server has answered.
pub(super) fn is_page(response: &Response) -> bool {
    let kind = response.header("content-type").unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// A page that does not say what it is.
pub(super) fn starts_like_a_page(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// The `code` of PostgREST's error object, if it looks like a code: a server's free text stays out of our errors.
fn error_code(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        code: Option<String>,
    }
    let code = from_json::<Body>(body).and_then(|body| body.code);
    let is_code = |code: &String| {
        (1..=MAX_CODE_CHARS).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    code.filter(is_code).unwrap_or_else(|| "unknown".to_owned())
}

/// Where a user is now, from the details of `PT421`; only what an address can be made of, because people read it.
fn new_address(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        details: Option<String>,
    }
    let address = from_json::<Body>(body)?.details?;
    let is_address = (1..=MAX_ADDRESS_CHARS).contains(&address.len())
        && address.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"'`\\@?#".contains(&b));
    is_address.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        let body = body.as_bytes().to_vec();
        Refusal { status, retry_after_ms: Some(7_000), is_page: false, body }.failure()
    }

    fn code(code: &str) -> String {
        format!(r#"{{"code":"{code}","message":"a learner's words","details":null,"hint":null}}"#)
    }

    #[test]
    fn a_code_of_the_server_counts_whatever_the_status_is() {
        for status in [400, 401, 403, 404, 409, 413, 426, 500, 502, 503] {
            assert_eq!(failure(status, &code("PT413")), Failure::TooLarge, "{status}");
            assert_eq!(failure(status, &code("PT409")), Failure::UserMissing, "{status}");
            assert_eq!(failure(status, &code("PT426")), Failure::UpgradeRequired, "{status}");
            assert_eq!(failure(status, &code("57014")), Failure::ServerTimeout, "{status}");
            assert_eq!(failure(status, &code("54000")), Failure::AnswerTooLarge, "{status}");
            for token in ["PT401", "PGRST301", "PGRST303"] {
                let code = code(token);
                assert!(matches!(failure(status, &code), Failure::Unauthorized { code } if code == token));
            }
        }
    }

    #[test]
    fn who_moved_is_told_where_to() {
        let at = |details: &str| {
            failure(421, &format!(r#"{{"code":"PT421","message":"m","details":{details},"hint":"h"}}"#))
        };
        for (details, address) in [
            (r#""https://b.example/x""#, Some("https://b.example/x")),
            (r#""pair-7""#, Some("pair-7")),
            ("null", None),
            ("\"\"", None),
            (r#""https://user:secret@b.example""#, None),
            (r#""a\u001b[31mb""#, None),
            (r#""two words""#, None),
        ] {
            assert_eq!(at(details), Failure::UserMoved { address: address.map(str::to_owned) }, "{details}");
        }
        assert!(at(r#""https://b.example""#).to_string().contains("(https://b.example)"));
    }

    #[test]
    fn a_status_alone_is_no_verdict() {
        let server = |status| Failure::Server { status, retry_after_ms: Some(7_000) };
        let refused = |status| Failure::Refused { status, code: "unknown".to_owned() };
        for (status, body, expected) in [
            (413, "", Failure::ProxyTooLarge),
            (413, "<html><h1>413 Request Entity Too Large</h1></html>", Failure::ProxyTooLarge),
            (413, r#"{"message":"too large","code":413}"#, Failure::ProxyTooLarge),
            (409, "", refused(409)),
            (426, "", refused(426)),
            (404, "not here", refused(404)),
            (403, "", refused(403)),
            (403, " <!doctype html><p>Blocked</p>", Failure::CaptivePortal),
            (404, "<html></html>", Failure::CaptivePortal),
            (401, "<html></html>", Failure::CaptivePortal),
            (401, "", Failure::Unauthorized { code: "unknown".to_owned() }),
            (401, r#"{"message":"Invalid API key"}"#, Failure::ApiKeyRefused),
            (403, r#"{"message":"Legacy API keys are disabled"}"#, Failure::ApiKeyRefused),
            (511, "", Failure::CaptivePortal),
            (302, "", Failure::CaptivePortal),
            (REDIRECTED, "", Failure::CaptivePortal),
            (429, "<html></html>", server(429)),
            (408, "", server(408)),
            (502, "<html>Bad Gateway</html>", server(502)),
            (504, "", server(504)),
            (503, r#"{"code":"PGRST002"}"#, server(503)),
        ] {
            assert_eq!(failure(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_server_may_ask_to_wait_in_seconds_or_until_a_date() {
        const NOW: Option<UnixMillis> = Some(UnixMillis(1_750_000_000_000)); // Sun, 15 Jun 2025 15:06:40 GMT
        let later = "Sun, 15 Jun 2025 15:08:40 GMT";
        let date = Some("Sun, 15 Jun 2025 15:07:40 GMT");
        for (text, date, now, expected) in [
            ("7", None, None, Some(7_000)),
            (" 0 ", None, None, Some(0)),
            ("99999999999999999999999", None, None, Some(u64::MAX)),
            (later, None, NOW, Some(120_000)),
            // The server's own clock goes before this device's.
            (later, date, NOW, Some(60_000)),
            (later, date, None, Some(60_000)),
            (later, Some("yesterday"), NOW, Some(120_000)),
            (later, None, None, None),
            // The older forms of a date are to be read too (RFC 9110, 5.6.7).
            ("Sunday, 15-Jun-25 15:08:40 GMT", date, None, Some(60_000)),
            ("Sun Jun 15 15:08:40 2025", date, None, Some(60_000)),
            // What is over is now.
            ("Sun, 15 Jun 2025 15:00:00 GMT", date, NOW, Some(0)),
            ("-7", None, NOW, None),
            ("1.5", None, NOW, None),
            ("soon", date, NOW, None),
            ("", date, NOW, None),
        ] {
            assert_eq!(retry_after_ms(text, date, now), expected, "{text:?} {date:?}");
        }
    }

    #[test]
    fn a_servers_free_text_is_no_code() {
        for (body, code) in [
            (r#"{"code":"PGRST301","message":"JWT expired"}"#, "PGRST301"),
            (r#"{"code":"the password is hunter2"}"#, "unknown"),
            ("<html>", "unknown"),
        ] {
            assert_eq!(error_code(body.as_bytes()), code);
        }
    }
}

//! What the gateway in front of PostgREST and GoTrue says of the app's API key. Both servers behind it name a code in each of
//! their errors; the gateway writes a message alone, so that its refusal is known by what is missing as much as by the words.

use serde::Deserialize;

use super::from_json;

/// The messages without "API key" in them that Kong's plugins give for a key: of a wrong one (2.x, 3.x), and of one that may
/// not use this service.
const KONG: [&str; 3] =
    ["Invalid authentication credentials", "Unauthorized", "You cannot consume this service"];

/// Whether the body of a 401 or 403 says that the API key is missing, wrong or retired. Supabase writes "Invalid API key",
/// "No API key found in request", "Legacy API keys are disabled" and "Unregistered API key".
pub fn refuses_api_key(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body {
        message: String,
        code: Option<serde::de::IgnoredAny>,
        error_code: Option<serde::de::IgnoredAny>,
    }
    match from_json(body) {
        Some(Body { message, code: None, error_code: None }) => {
            message.to_ascii_lowercase().contains("api key") || KONG.contains(&message.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateways_own_words_are_about_the_key() {
        for (body, refused) in [
            (
                r#"{"message":"Invalid API key","hint":"Double check your Supabase `anon` or `service_role` API key."}"#,
                true,
            ),
            (
                r#"{"message":"No API key found in request","hint":"No `apikey` request header or url param was found."}"#,
                true,
            ),
            (
                r#"{"message":"Legacy API keys are disabled","hint":"Use the publishable and secret API keys."}"#,
                true,
            ),
            (r#"{"message":"Unregistered API key"}"#, true),
            (r#"{"message":"Invalid authentication credentials"}"#, true),
            (r#"{"message":"Unauthorized","request_id":"1"}"#, true),
            (r#"{"code":"PGRST301","message":"JWT expired"}"#, false),
            (r#"{"code":"42501","message":"the API key of another service"}"#, false),
            (r#"{"code":400,"error_code":"invalid_credentials","msg":"Invalid login credentials"}"#, false),
            (r#"{"message":"Log in to this network"}"#, false),
            ("<html>Invalid API key</html>", false),
            ("", false),
        ] {
            assert_eq!(refuses_api_key(body.as_bytes()), refused, "{body}");
        }
    }
}

//! Why an entry failed: what C did wrong at the boundary, or what the client says. Carries no value that was handed in.

use std::io;

use crate::code::MareaCode;

/// A failure on its way to C.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A pointer that is needed is NULL.
    Null(&'static str),
    /// A text is not UTF-8.
    Utf8(&'static str),
    /// An argument cannot be used; says what it should be.
    Input(&'static str, String),
    /// What the client says.
    Client(marea_native::Error),
    /// No thread, no runtime.
    NoResources(io::Error),
    /// A defect.
    Internal(&'static str),
}

impl Problem {
    pub(crate) fn code(&self) -> MareaCode {
        match self {
            Problem::Null(_) => MareaCode::NullArgument,
            Problem::Utf8(_) => MareaCode::InvalidUtf8,
            Problem::Input(..) => MareaCode::InvalidInput,
            Problem::Client(error) => MareaCode::of_name(error.code()),
            Problem::NoResources(_) => MareaCode::NoResources,
            Problem::Internal(_) => MareaCode::Internal,
        }
    }

    /// What a program and a person are told.
    pub(crate) fn to_json(&self) -> String {
        let message = match self {
            Problem::Null(argument) => format!("{argument} is NULL"),
            Problem::Utf8(argument) => format!("{argument} is not UTF-8"),
            Problem::Input(argument, problem) => format!("{argument} {problem}"),
            Problem::Client(error) => error.to_string(),
            Problem::NoResources(source) => format!("the system gave no thread to work on: {source}"),
            Problem::Internal(what) => format!("{what}; this is a defect of libmarea"),
        };
        let may_retry = match self {
            Problem::Client(error) => error.may_retry(),
            Problem::NoResources(_) => true,
            _ => false,
        };
        serde_json::json!({ "code": self.code().name(), "message": message, "may_retry": may_retry })
            .to_string()
    }
}

impl From<marea_native::Error> for Problem {
    fn from(error: marea_native::Error) -> Problem {
        Problem::Client(error)
    }
}

impl From<marea_core::Error> for Problem {
    fn from(error: marea_core::Error) -> Problem {
        Problem::Client(error.into())
    }
}

/// Reads JSON. The parser's own words quote what was written, and that may be a secret: only names of fields are repeated.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(
    text: &str,
    argument: &'static str,
) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let names_a_field = ["unknown field", "missing field", "duplicate field"];
        let problem = match names_a_field.iter().any(|kind| said.starts_with(kind)) {
            true => format!("is not as expected: {said}"),
            false if error.is_data() => {
                format!("has a value of the wrong kind at line {} column {}", error.line(), error.column())
            }
            false => format!("is not JSON at line {} column {}", error.line(), error.column()),
        };
        Problem::Input(argument, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Input {
        minutes: u32,
    }

    fn said(text: &str) -> String {
        read_json::<Input>(text, "session").unwrap_err().to_json()
    }

    #[test]
    fn a_parsers_words_are_repeated_only_where_they_name_a_field() {
        assert!(said(r#"{"minutes":1,"minuts":2}"#).contains("unknown field `minuts`"));
        assert!(said("{}").contains("missing field `minutes`"));
        for (text, kind) in [(r#"{"minutes":"secret"}"#, "wrong kind"), ("secret", "not JSON")] {
            let said = said(text);
            assert!(said.contains(kind) && !said.contains("secret"), "{said}");
            assert!(said.contains(r#""code":"invalid_input""#), "{said}");
        }
    }
}

//! `vault vectors` prints new frozen vectors; `vault answer` makes and opens envelopes as asked on stdin, a line of JSON each, for
//! tests in other languages. It speaks as `tests/vault/envelope.py` does.

use std::io::{self, BufRead as _, Write as _};

use marea_core::{Provider, UserId};
use marea_tests::vault;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Asked {
    r#do: String,
    user: UserId,
    provider: Provider,
    envelope: Option<String>,
    passphrase: Option<String>,
    code: Option<String>,
    key: Option<String>,
    #[serde(default)]
    with_code: bool,
}

fn answer(asked: &Asked) -> Value {
    let Asked { user, provider, .. } = *asked;
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    if asked.r#do == "make" {
        return json!(vault::make(
            user,
            provider,
            &given(&asked.key),
            &given(&asked.passphrase),
            asked.with_code
        ));
    }
    let opened = match &asked.code {
        Some(code) => vault::open_by_code(user, provider, &given(&asked.envelope), code),
        None => vault::open(user, provider, &given(&asked.envelope), &given(&asked.passphrase)),
    };
    opened.map_or_else(|error| json!({ "error": error }), |key| json!({ "key": key }))
}

fn main() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match std::env::args().nth(1).as_deref() {
        Some("vectors") => {
            let lines: Vec<String> =
                vault::vectors().iter().map(|vector| json!(vector).to_string()).collect();
            writeln!(stdout, "[\n{}\n]", lines.join(",\n"))
        }
        Some("answer") => {
            for line in io::stdin().lock().lines() {
                let asked = serde_json::from_str(&line?).map_err(io::Error::other)?;
                writeln!(stdout, "{}", answer(&asked))?;
                stdout.flush()?;
            }
            Ok(())
        }
        _ => Err(io::Error::other("vault vectors | vault answer")),
    }
}

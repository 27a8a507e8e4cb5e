//! The envelope is what `docs/VAULT.md` says: a Python script that knows nothing but that page and `cryptography` opens what
//! the engine makes, and the engine opens what the script makes. And every frozen vector opens, for ever.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use marea_core::{Provider, UserId};
use marea_tests::cluster::root;
use marea_tests::vault::{self, Vector};
use serde_json::{Value, json};

/// The Python that has `cryptography`, as `cargo xtask setup` looks for it.
fn python() -> &'static str {
    let has = |python: &&str| {
        Command::new(python).args(["-c", "import cryptography"]).status().is_ok_and(|s| s.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    found.expect("Python with the module `cryptography`: cargo xtask setup")
}

struct Python {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Python {
        let script = root().join("tests/vault/envelope.py");
        let child = Command::new(python()).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("Python starts");
        let asks = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Python { child, asks, answers }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.asks, "{question}").expect("Python listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("Python answers");
        assert!(!line.is_empty(), "Python went away");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user() -> UserId {
    "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().expect("a user")
}

fn frozen() -> Vec<Vector> {
    let folder = root().join("core/src/vault/vectors");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the vectors") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a file of vectors");
        all.extend(serde_json::from_str::<Vec<Vector>>(&text).expect("vectors"));
    }
    assert!(all.len() >= 16);
    all
}

#[test]
fn every_frozen_vector_opens() {
    for vector in frozen() {
        let Vector { name, user, provider, passphrase, code, key, envelope } = &vector;
        assert_eq!(vault::open(*user, *provider, envelope, passphrase).as_ref(), Ok(key), "{name}");
        if let Some(code) = code {
            assert_eq!(vault::open_by_code(*user, *provider, envelope, code).as_ref(), Ok(key), "{name}");
        }
    }
}

#[test]
fn python_opens_what_the_engine_seals() {
    let mut python = Python::start();
    let fresh = vault::make(user(), Provider::Anthropic, "sk-ant-fresh", "maré alta de agosto", true);
    for vector in frozen().into_iter().chain([fresh]) {
        let mut question = json!(vector);
        question["do"] = json!("open");
        let by_code = question.clone();
        question.as_object_mut().expect("an object").remove("code");
        assert_eq!(python.ask(&question), json!({ "key": vector.key }), "{}", vector.name);
        if vector.code.is_some() {
            assert_eq!(python.ask(&by_code), json!({ "key": vector.key }), "{}", vector.name);
        }
        question["passphrase"] = json!("another passphrase");
        assert_eq!(python.ask(&question), json!({ "error": "wrong_passphrase" }));
        question["provider"] = json!(if vector.provider == Provider::Openai { "unsplash" } else { "openai" });
        assert_eq!(python.ask(&question), json!({ "error": "key_damaged" }));
    }
}

/// The old data key is in the new header, for who has the new one.
#[test]
fn python_opens_an_old_envelope_with_the_new_passphrase_through_the_new_one() {
    let (old, newer) =
        vault::before_and_after(user(), "sk-older", "the first passphrase", "the second passphrase");
    let question = json!({ "do": "open_old", "user": user(), "provider": "openai", "old": old, "envelope": newer,
        "passphrase": "the second passphrase" });
    assert_eq!(Python::start().ask(&question), json!({ "key": "sk-older" }));
    assert_eq!(
        vault::open(user(), Provider::Openai, &old, "the second passphrase"),
        Err("wrong_passphrase".into())
    );
}

#[test]
fn the_engine_opens_what_python_seals() {
    let mut python = Python::start();
    for (key, passphrase, rounds, with_code) in [
        ("sk-from-python", "a passphrase from python", 600_000, true),
        ("x", "ﬁne ４２ écrit", 100_000, false),
        ("raised", "rounds raised later", 900_000, false),
    ] {
        let made = python.ask(&json!({
            "do": "make", "user": user(), "provider": "unsplash", "key": key, "passphrase": passphrase,
            "rounds": rounds, "made_ms": 1_763_899_200_000_u64, "with_code": with_code,
        }));
        let envelope = made["envelope"].as_str().expect("an envelope");
        let open = |passphrase: &str| vault::open(user(), Provider::Unsplash, envelope, passphrase);
        assert_eq!(open(passphrase).as_deref(), Ok(key));
        assert_eq!(open("another passphrase"), Err("wrong_passphrase".to_owned()));
        if let Some(code) = made["code"].as_str() {
            let by_code = vault::open_by_code(user(), Provider::Unsplash, envelope, code);
            assert_eq!(by_code.as_deref(), Ok(key));
        }
    }
}

/// Fewer rounds than were ever written, and more than a device should be kept busy with.
#[test]
fn rounds_out_of_bounds_are_refused() {
    let mut python = Python::start();
    let made = python.ask(&json!({
        "do": "make", "user": user(), "provider": "openai", "key": "weak", "passphrase": "a passphrase",
        "rounds": 99_999, "made_ms": 1_763_899_200_000_u64,
    }));
    let envelope = made["envelope"].as_str().expect("an envelope");
    let opened = vault::open(user(), Provider::Openai, envelope, "a passphrase");
    assert_eq!(opened, Err("key_damaged".to_owned()));
}

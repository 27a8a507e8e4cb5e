//! Python with `cryptography`: the tests open sealed keys with it, as somebody would who has nothing but the documented format.

use std::path::PathBuf;

use super::{Fix, Look, Missing, apt};
use crate::{paths, run::Run};

/// Debian's own is looked at as well: its packages do not reach another Python that comes first on PATH.
pub(crate) fn look() -> Look<PathBuf> {
    let found = paths::on_path("python3");
    let candidates: Vec<PathBuf> = found.into_iter().chain([PathBuf::from("/usr/bin/python3")]).collect();
    let mut why = "not found".to_owned();
    for python in candidates.into_iter().filter(|python| python.is_file()) {
        let version =
            Run::new(&python).args(["-c", "import cryptography; print(cryptography.__version__)"]).read();
        match version {
            Ok(version) => return Ok((python, format!("cryptography {}", version.trim()))),
            Err(_) => why = format!("{} has no module `cryptography`", python.display()),
        }
    }
    Err(Missing {
        name: "Python",
        why: format!("{why}; the tests open sealed keys with it"),
        fix: Fix::Apt(vec![apt::Wanted::Exactly("python3"), apt::Wanted::Exactly("python3-cryptography")]),
        by_hand: by_hand(),
    })
}

fn by_hand() -> String {
    match apt::exists() {
        true => {
            apt::command(&[apt::Wanted::Exactly("python3"), apt::Wanted::Exactly("python3-cryptography")])
        }
        false => "get Python 3.9 or newer, then: python3 -m pip install cryptography".to_owned(),
    }
}

//! `cargo xtask record`: holds the conversations of `docs/protocol/` with a real server and writes them down, then shows that
//! the engine alone says the same. The conversations are a test of `marea-tests`, which also says when the exchange that
//! `docs/PROTOCOL.md` shows is no longer theirs.

use anyhow::Result;

use crate::run::Run;

pub(crate) fn run() -> Result<()> {
    let words = ["test", "--quiet", "--package", "marea-tests", "--test", "engine", "--"];
    // It fails when it has recorded: a recording proves nothing.
    let _ = Run::new("cargo").args(words).arg("the_server_says").env("MAREA_RECORD", "1").show();
    Run::new("cargo").args(words).show()
}

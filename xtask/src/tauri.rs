//! `cargo xtask tauri`: builds the Tauri example and clicks through it in a real WebKit, against a real backend. Apart from
//! `cargo xtask test`, which everybody runs: WebKit is a large package, and the first build takes minutes.

use anyhow::Result;

use crate::{build, paths, run::Run, setup};

/// Builds, runs, clicks; fails when what is shown or what reaches the server is not as it should be.
pub(crate) fn run() -> Result<()> {
    let node = setup::ensure_for_tauri()?;
    let binaries = build::Binaries::build()?;
    let root = paths::root();
    let manifest = root.join("examples/tauri/Cargo.toml");
    // Beside what everything else is built into, so that the example's folder stays as it was written.
    let target = root.join("target/tauri");
    let built = build::cargo_with(
        "build",
        &["--locked", "--manifest-path", &manifest.to_string_lossy()],
        &[("CARGO_TARGET_DIR", &target.to_string_lossy())],
    )?;
    Run::new(node)
        .args(["--test", "--test-reporter=spec"])
        .arg(root.join("tests/tauri/app.test.mjs"))
        .env("MAREA_TAURI_BIN", build::find(&built, "marea-tauri-example")?)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .env("MAREA_BIN", &binaries.marea)
        .show()
}

//! `cargo xtask tauri`: builds the Tauri example and clicks through it in a real WebKit, against a real backend. Apart from
//! `cargo xtask test`, which everybody runs: WebKit is a large package, and the first build takes minutes.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{build, paths, run::Run, setup, wasm};

/// Builds, runs, clicks; fails when what is shown or what reaches the server is not as it should be.
pub(crate) fn run() -> Result<()> {
    let node = setup::ensure_for_tauri()?;
    let binaries = build::Binaries::build()?;
    let root = paths::root();
    package(&root)?;
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

/// Puts what the page loads of the npm package beside it.
fn package(root: &Path) -> Result<()> {
    wasm::build(&setup::ensure()?, wasm::Effort::Dev)?;
    build::npm_package()?;
    let (dist, ui) = (root.join("wasm/dist"), root.join("examples/tauri/ui/marea"));
    fs::create_dir_all(&ui)?;
    for file in ["index.js", "tauri.js"] {
        fs::copy(dist.join(file), ui.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

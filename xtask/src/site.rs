//! `cargo xtask site`: the documentation as a site, from docs/ and from the sources.

use anyhow::Result;

use crate::{build, paths, run::Run, setup, wasm};

/// Builds the package, whose types the reference is made from, and the site.
pub(crate) fn run() -> Result<()> {
    wasm::build(&setup::ensure()?, wasm::Effort::Release)?;
    build::npm_package()?;
    build()?;
    println!("{}", paths::target().join("site").join("dist").display());
    Ok(())
}

/// Builds the site over the package that is there. A link that leads nowhere is an error.
pub(crate) fn build() -> Result<()> {
    Run::new("node").arg(paths::root().join("site").join("build.mjs")).show()
}

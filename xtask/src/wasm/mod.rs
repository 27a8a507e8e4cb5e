//! `cargo xtask wasm`: the browser's module, from Rust to `wasm/pkg/`.
//!
//! Three steps: compile (cargo decides what is stale), generate the glue, optimise. The last two are skipped when
//! the compiled module is byte for byte the one that they last ran on.

mod binary;
mod compile;
mod finish;
mod names;
mod order;

use anyhow::Result;

use crate::setup::Tools;

/// How much work goes into the module's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// What is published: with wasm-opt.
    Release,
    /// What is tried out: ten seconds sooner and a good tenth larger.
    Dev,
}

impl Effort {
    pub(crate) fn of_dev_flag(dev: bool) -> Self {
        if dev { Self::Dev } else { Self::Release }
    }
}

/// Builds the module and its glue.
pub(crate) fn build(tools: &Tools, effort: Effort) -> Result<()> {
    let module = compile::module(tools)?;
    finish::package(&module, effort)
}

/// Compiles with warnings denied, linted as far as the compiler at hand can; leaves the compiled module behind
/// for `build`.
pub(crate) fn lint(tools: &Tools) -> Result<()> {
    compile::lint(tools)
}

//! A Rust compiler for wasm32-unknown-unknown: one that has the target's standard library, or Debian's, which has
//! only the library's source and builds it along.
//!
//! The target is deliberately not listed in a `rust-toolchain.toml`: rustup would then insist on fetching it,
//! which fails on a machine that cannot reach its servers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Fix, Look, Missing, apt};
use crate::{paths, run::Run};

/// The target's name.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest compiler that builds the workspace; `rust-version` in Cargo.toml.
const MIN_RUST: (u32, u32) = (1, 89);

/// The first compiler that the flags for a small module were tried with (`xtask/src/wasm/compile.rs`).
const MIN_RUST_OF_SMALL: (u32, u32) = (1, 95);

/// How wasm32 is compiled on this machine.
pub(crate) enum WasmCompiler {
    /// The toolchain that runs xtask has the target. With the standard library's source, that is built along.
    Ready { source: bool },
    /// The system's own toolchain, beside rustup's, has the target.
    System { rustc: PathBuf, cargo: PathBuf },
    /// The system's own toolchain has the standard library's source, which is built along.
    SystemWithSource { rustc: PathBuf, cargo: PathBuf, linker: PathBuf },
}

pub(crate) fn look() -> Look<WasmCompiler> {
    if has_target(Path::new("rustc")) {
        let source = has_small_library();
        let about = match source {
            true => "the target is installed, and the standard library's source",
            false => "the target is installed; for a smaller module: rustup component add rust-src",
        };
        return Ok((WasmCompiler::Ready { source }, about.to_owned()));
    }
    let why = match look_at_system() {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    let or_apt: Vec<apt::Wanted> =
        ["rustc-web", "cargo-web", "rust-web-src"].map(apt::Wanted::Exactly).into();
    let or_apt = [or_apt, vec![apt::Wanted::Llvm("lld")]].concat();
    let rustup = format!("rustup target add {TARGET}");
    let by_hand = match apt::exists() {
        true => format!("{rustup}\nor, where that cannot be fetched: {}", apt::command(&or_apt)),
        false if paths::on_path("rustup").is_none() => {
            format!("install Rust with rustup (https://rustup.rs), then: {rustup}")
        }
        false => rustup,
    };
    Err(Missing { name: "Rust for wasm32", why, fix: Fix::RustTarget { or_apt }, by_hand })
}

/// Looks at the toolchain in /usr/bin, which rustup's shadows on PATH.
fn look_at_system() -> Result<(WasmCompiler, String), String> {
    let none =
        format!("the Rust toolchain in use has no {TARGET} target, which the browser's module is built for");
    let (rustc, cargo) = (PathBuf::from("/usr/bin/rustc"), PathBuf::from("/usr/bin/cargo"));
    if !paths::is_program(&rustc) || !paths::is_program(&cargo) {
        return Err(none);
    }
    let said = system_run(&rustc).arg("--version").read().map_err(|error| format!("{error:#}"))?;
    let version =
        parse_version(&said).ok_or_else(|| format!("cannot read the version in `{}`", said.trim()))?;
    let too_old = || Err(format!("{none}, and the system's Rust {}.{} is too old", version.0, version.1));
    if version < MIN_RUST {
        return too_old();
    }
    if has_target(&rustc) {
        return Ok((WasmCompiler::System { rustc, cargo }, format!("the system's {}", said.trim())));
    }
    if version < MIN_RUST_OF_SMALL {
        return too_old();
    }
    if !has_source(&rustc) {
        return Err(format!("{none}, and the system's Rust has not even the standard library's source"));
    }
    let linker = find_linker().ok_or("the linker for wasm32 (wasm-ld, of LLVM's lld) was not found")?;
    let about = format!("the system's Rust {}.{}, standard library built along", version.0, version.1);
    Ok((WasmCompiler::SystemWithSource { rustc, cargo, linker }, about))
}

/// A run of the system's toolchain without what rustup's proxies and cargo put in the environment: its libraries
/// would be found before the system's.
pub(crate) fn system_run(program: &Path) -> Run {
    ["LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN"]
        .into_iter()
        .fold(Run::new(program), |run, name| run.without_env(name))
}

/// Whether the toolchain that runs xtask can build the standard library along.
pub(super) fn has_small_library() -> bool {
    let version = Run::new("rustc").arg("--version").read().ok().and_then(|said| parse_version(&said));
    version >= Some(MIN_RUST_OF_SMALL) && has_source(Path::new("rustc"))
}

/// rustup's own are found by name, the system's by path.
fn rustc_run(rustc: &Path) -> Run {
    if rustc.is_absolute() { system_run(rustc) } else { Run::new(rustc) }
}

fn has_target(rustc: &Path) -> bool {
    let dir =
        rustc_run(rustc).args(["--print", "target-libdir", "--target", TARGET]).read().unwrap_or_default();
    let Ok(entries) = fs::read_dir(dir.trim()) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn has_source(rustc: &Path) -> bool {
    let sysroot = rustc_run(rustc).args(["--print", "sysroot"]).read().unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}

fn find_linker() -> Option<PathBuf> {
    let versioned = apt::LLVM_VERSIONS.rev().map(|version| format!("wasm-ld-{version}"));
    versioned.chain(["wasm-ld".to_owned()]).find_map(|name| paths::on_path(&name))
}

/// `rustc 1.96.0 (...)` -> (1, 96).
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            parse_version("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a tarball)\n"),
            Some((1, 96))
        );
        assert_eq!(parse_version("rustc 2.0.1-beta.3"), Some((2, 0)));
        assert_eq!(parse_version("rustc"), None);
        assert_eq!(parse_version("rustc one.two"), None);
    }

    #[test]
    fn the_oldest_compiler_is_the_one_that_the_workspace_declares() {
        let manifest = fs::read_to_string(paths::root().join("Cargo.toml")).unwrap();
        let declared = format!("rust-version = \"{}.{}\"", MIN_RUST.0, MIN_RUST.1);
        assert!(manifest.contains(&declared), "Cargo.toml does not say {declared}");
    }
}

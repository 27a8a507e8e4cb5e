//! A clang that can compile C for wasm32: SQLite and ring are C, and the system's compiler may lack that backend
//! (GCC has none, Apple's clang leaves it out).

use std::path::{Path, PathBuf};

use super::{Fix, Look, Missing, apt};
use crate::{paths, run::Run};

/// A C compiler for wasm32 and the archiver that goes with it.
pub(crate) struct Clang {
    pub(crate) clang: PathBuf,
    /// llvm-ar: other archivers write no index for wasm objects.
    pub(crate) ar: PathBuf,
}

/// Where Homebrew keeps LLVM: not on PATH, so that it does not shadow Apple's.
const HOMEBREW: [&str; 2] = ["/opt/homebrew/opt/llvm/bin", "/usr/local/opt/llvm/bin"];

pub(crate) fn look() -> Look<Clang> {
    let mut why =
        "no clang was found; SQLite and ring are C and are compiled for the browser with it".to_owned();
    for (clang, ar) in candidates() {
        if !targets_wasm32(&clang) {
            why = format!("{} has no wasm32 backend", clang.display());
            continue;
        }
        match ar {
            Some(ar) => {
                let about = clang.display().to_string();
                return Ok((Clang { clang, ar }, about));
            }
            None => why = format!("{} is there, but the llvm-ar that belongs to it is not", clang.display()),
        }
    }
    let wanted = vec![apt::Wanted::Llvm("clang"), apt::Wanted::Llvm("llvm")];
    Err(Missing { name: "clang for wasm32", why, by_hand: by_hand(&wanted), fix: Fix::Apt(wanted) })
}

fn by_hand(wanted: &[apt::Wanted]) -> String {
    if apt::exists() {
        apt::command(wanted)
    } else if cfg!(target_os = "macos") {
        "brew install llvm".to_owned()
    } else {
        "install LLVM's clang and llvm-ar (14 or newer) with your package manager, and put them on PATH"
            .to_owned()
    }
}

/// Every clang on this machine with its archiver, the plain name first, then the newest.
fn candidates() -> impl Iterator<Item = (PathBuf, Option<PathBuf>)> {
    let plain = paths::on_path("clang").map(|clang| (clang, paths::on_path("llvm-ar")));
    let brewed = HOMEBREW.iter().map(Path::new).filter_map(|dir| {
        let program = |name: &str| Some(dir.join(name)).filter(|path| paths::is_program(path));
        Some((program("clang")?, program("llvm-ar")))
    });
    let versioned = apt::LLVM_VERSIONS.rev().filter_map(|version| {
        let clang = paths::on_path(&format!("clang-{version}"))?;
        let ar = paths::on_path(&format!("llvm-ar-{version}")).or_else(|| paths::on_path("llvm-ar"));
        Some((clang, ar))
    });
    plain.into_iter().chain(brewed).chain(versioned)
}

fn targets_wasm32(clang: &Path) -> bool {
    Run::new(clang).arg("--print-targets").read().is_ok_and(|targets| lists_wasm32(&targets))
}

fn lists_wasm32(targets: &str) -> bool {
    targets.lines().any(|line| line.split_whitespace().next() == Some("wasm32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_is_found_in_the_list_of_targets() {
        assert!(lists_wasm32("  Registered Targets:\n    wasm32      - WebAssembly 32-bit\n"));
        assert!(!lists_wasm32("  Registered Targets:\n    x86-64      - 64-bit X86: like wasm32\n"));
    }
}

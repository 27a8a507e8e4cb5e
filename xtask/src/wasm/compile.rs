//! Compiling `marea-wasm` for the browser, whichever compiler setup found.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    paths,
    run::Run,
    setup::{TARGET, Tools, WasmCompiler, system_run},
};

/// The profile in Cargo.toml that makes the module small.
const PROFILE: &str = "wasm";

/// The standard library is built along, with size before speed: docs/adr/0161-panics-are-traps.md.
const SMALL_LIBRARY: [&str; 2] = ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"];
/// A panic is a trap, without a message or a place that nobody would see; and what is larger than two words of 64 bits is copied by one
/// instruction, not word by word: values of Rust are moved often.
const SMALL_CODE: [&str; 4] = [
    "-Zunstable-options",
    "-Cpanic=immediate-abort",
    "-Cllvm-args=-max-store-memcpy=2",
    "-Cllvm-args=-max-store-memmove=2",
];

/// Compiles the module and says where it is.
pub(crate) fn module(tools: &Tools) -> Result<PathBuf> {
    cargo(tools, "build").show()?;
    let module = target_dir(&tools.compiler).join(TARGET).join(PROFILE).join("marea_wasm.wasm");
    if !module.is_file() {
        bail!("cargo succeeded, but {} is not there", module.display());
    }
    Ok(module)
}

/// Denies warnings: with clippy where the toolchain has it for the target, else by compiling with a cargo that can
/// turn warnings into errors without compiling anything anew.
pub(crate) fn lint(tools: &Tools) -> Result<()> {
    match tools.compiler {
        WasmCompiler::Ready { .. } => cargo(tools, "clippy").args(["--", "-D", "warnings"]).show(),
        WasmCompiler::System { .. } | WasmCompiler::SystemWithSource { .. } => {
            cargo(tools, "build").args(["-Zwarnings", "--config", "build.warnings=\"deny\""]).show()
        }
    }
}

/// Debian's compiler has a folder of its own: two compilers in one would rebuild each other's work every time.
fn target_dir(compiler: &WasmCompiler) -> PathBuf {
    match compiler {
        WasmCompiler::Ready { .. } => paths::target(),
        WasmCompiler::System { .. } | WasmCompiler::SystemWithSource { .. } => {
            paths::target().join("wasm-build")
        }
    }
}

/// A cargo command over `marea-wasm`.
fn cargo(tools: &Tools, subcommand: &str) -> Run {
    let (run, with_library) = match &tools.compiler {
        WasmCompiler::Ready { source } => (Run::new("cargo"), *source),
        WasmCompiler::System { rustc, cargo } => (system(rustc, cargo), false),
        WasmCompiler::SystemWithSource { rustc, cargo, linker } => {
            let run = system(rustc, cargo).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            (run, true)
        }
    };
    let mut flags = without_places();
    let run = match with_library {
        true => {
            flags.extend(SMALL_CODE.map(str::to_owned));
            // A stable compiler may do so only when it is told to.
            run.env("RUSTC_BOOTSTRAP", "1")
        }
        false => run,
    };
    run.env("CC_wasm32_unknown_unknown", &tools.clang.clang)
        .env("AR_wasm32_unknown_unknown", &tools.clang.ar)
        .env("CARGO_TARGET_DIR", target_dir(&tools.compiler))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags.join(" "))
        .args([subcommand, "--profile", PROFILE, "--target", TARGET, "--package", "marea-wasm"])
        .args(if with_library { SMALL_LIBRARY.as_slice() } else { &[] })
}

/// A panic names the place in the code, and that place must not name the machine that the module was built on.
fn without_places() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let registry = home.map(|home| home.join("registry").join("src"));
    let places = registry.into_iter().chain([paths::root()]);
    places.map(|place| format!("--remap-path-prefix={}=", place.display())).collect()
}

/// The system's cargo, told to use the system's compiler, which may build the standard library although it is a
/// stable one.
fn system(rustc: &std::path::Path, cargo: &std::path::Path) -> Run {
    system_run(cargo)
        .env("RUSTC", rustc)
        .env("RUSTDOC", rustc.with_file_name("rustdoc"))
        .env("RUSTC_BOOTSTRAP", "1")
}

//! Runs the wasm-bindgen generator: `marea-bindgen INPUT.wasm OUT_DIR`.
//!
//! It exists so that the generator is a dependency in `Cargo.lock`, at exactly the version of the library that
//! the module was linked with; a separately installed `wasm-bindgen` can differ, and then refuses the file. It
//! takes no options: the one shape the npm package needs (`web`, with TypeScript types) is fixed here.

use std::{path::PathBuf, process::ExitCode};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, out_dir] = arguments.as_slice() else {
        eprintln!("usage: marea-bindgen INPUT.wasm OUT_DIR");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    // The engine can be started again where it shares its page with the app and has stopped (`wasm/js/page-seat.ts`).
    bindgen.input_path(input).typescript(true).reset_state_function(true);
    let generated = bindgen.web(true).and_then(|bindgen| bindgen.generate(out_dir));
    match generated {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marea-bindgen: {}: {error:#}", input.display());
            ExitCode::FAILURE
        }
    }
}

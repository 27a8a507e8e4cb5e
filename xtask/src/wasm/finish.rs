//! From the compiled module to `wasm/pkg/`: JavaScript glue, TypeScript types, and a smaller module.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{Effort, names, order};
use crate::{paths, run::Run, say::Step};

/// What rustc may emit for this target and every browser of the last years has; wasm-opt refuses the rest.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// For size, and what holds for every module that rustc links: the stack lies at the bottom of the memory, so nothing valid
/// has an address near zero, and a new memory is zero. Packing the memory would cut the data at every few zeros, and the hundreds of
/// addresses weigh more than the zeros do, compressed.
const EFFORT: [&str; 6] = [
    "-Os",
    "-ocimfs=0",
    "--low-memory-unused",
    "--zero-filled-memory",
    "--strip-producers",
    "--skip-pass=memory-packing",
];

/// First what is known of the whole module, then again and again until nothing changes.
const THOROUGH: [&str; 2] = ["--gufa-optimizing", "--converge"];

/// What tells that the engine has stopped, and its type.
const WATCH: &str = include_str!("watch.js");
const WATCH_TYPES: &str = "\n/** Has `listener` told when the engine stops. It must call nothing of this module. */\nexport function onEngineStopped(listener: () => void): void;\n";

/// The files that the generator leaves in `wasm/pkg/`.
const OUTPUTS: [&str; 4] = ["marea_wasm.js", "marea_wasm.d.ts", "marea_wasm_bg.wasm", EXPORTS];

/// What the module's exports are called, for tests that stand between it and its JavaScript.
const EXPORTS: &str = "exports.json";

/// Generates and optimises, unless that has been done for exactly this module with exactly these tools.
pub(crate) fn package(module: &Path, effort: Effort) -> Result<()> {
    let out = paths::root().join("wasm").join("pkg");
    let note = paths::notes().join("wasm-pkg");
    fs::create_dir_all(paths::notes())?;
    // Two builds at once (an editor's and a person's) would write the same files.
    let lock = File::create(paths::notes().join("wasm-pkg.lock"))?;
    lock.lock()?;
    // Building the generator costs nothing when nothing changed, and tells whether it did.
    let generator = build_generator()?;
    let fingerprint = fingerprint(&[module, &generator, &paths::root().join("package-lock.json")], effort)?;
    let whole = OUTPUTS.iter().all(|name| out.join(name).is_file());
    if whole && fs::read_to_string(&note).is_ok_and(|known| known == fingerprint) {
        return Ok(());
    }
    // A half-finished package must not pass for a finished one.
    let _ = fs::remove_file(&note);
    let step = Step::start("generate the module's JavaScript and types");
    step.run(Run::new(&generator).arg(module).arg(&out))?;
    finish(&out)?;
    step.done();
    if effort == Effort::Release {
        optimise(&out.join("marea_wasm_bg.wasm"))?;
    }
    fs::write(&note, fingerprint).with_context(|| format!("cannot write {}", note.display()))
}

/// Gives the module and its JavaScript short names for each other, and has the JavaScript tell when the engine stops.
fn finish(out: &Path) -> Result<()> {
    let [module, script, types] =
        ["marea_wasm_bg.wasm", "marea_wasm.js", "marea_wasm.d.ts"].map(|name| out.join(name));
    let short = names::shorten(&fs::read(&module)?, &fs::read_to_string(&script)?)?;
    fs::write(module, short.module)?;
    fs::write(script, watched(short.script)?)?;
    fs::write(&types, fs::read_to_string(&types)? + WATCH_TYPES)?;
    // The types of what is called otherwise now.
    let _ = fs::remove_file(out.join("marea_wasm_bg.wasm.d.ts"));
    fs::write(out.join(EXPORTS), serde_json::to_string(&short.exports)?)?;
    Ok(())
}

/// The generated JavaScript, with all that it calls of the module watched.
fn watched(mut script: String) -> Result<String> {
    for instance in ["instance", "wasmInstance"] {
        let taken = format!("wasm = {instance}.exports;");
        ensure!(script.matches(&taken).count() == 1, "the generated JavaScript has no `{taken}`");
        script = script.replace(&taken, &format!("wasm = watched({instance}.exports);"));
    }
    Ok(script + WATCH)
}

/// The generator of the version in Cargo.lock.
fn build_generator() -> Result<PathBuf> {
    Run::new("cargo").args(["build", "--quiet", "--package", "marea-bindgen"]).show()?;
    Ok(paths::target().join("debug").join(format!("marea-bindgen{}", std::env::consts::EXE_SUFFIX)))
}

fn optimise(module: &Path) -> Result<()> {
    let step = Step::start("make the module smaller (wasm-opt)");
    let optimised = |words: &[&str], from: &Path, to: &Path| {
        let opt = Run::new(paths::npm_bin("wasm-opt")).args(words).args(EFFORT).args(FEATURES);
        step.run(opt.arg(from).arg("-o").arg(to))
    };
    let smaller = module.with_extension("opt");
    optimised(&THOROUGH, module, &smaller)?;
    fs::write(&smaller, order::named(&fs::read(&smaller)?)?)?;
    // Once more in the new order: 1 kB less of what is compressed.
    optimised(&["--reorder-functions-by-name"], &smaller, module)?;
    fs::remove_file(&smaller)?;
    step.done();
    Ok(())
}

/// A few characters that change when any of the files or the effort does.
fn fingerprint(files: &[&Path], effort: Effort) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    (EFFORT, THOROUGH, include_str!("order.rs"), include_str!("names.rs"), WATCH, WATCH_TYPES)
        .hash(&mut hasher);
    for file in files {
        fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x} {effort:?}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_called_of_the_module_is_watched() {
        let generated = "a() { wasm = instance.exports; } b() { wasm = wasmInstance.exports; }";
        let script = watched(generated.to_owned()).unwrap();
        let both = "a() { wasm = watched(instance.exports); } b() { wasm = watched(wasmInstance.exports); }";
        assert!(script.starts_with(both) && script.contains("function watched("), "{script}");
        assert!(watched(generated.replace("wasmInstance", "other")).is_err());
    }

    #[test]
    fn the_fingerprint_follows_content_and_effort() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("module");
        fs::write(&file, "one").unwrap();
        let first = fingerprint(&[&file], Effort::Release).unwrap();
        assert_eq!(first, fingerprint(&[&file], Effort::Release).unwrap());
        assert_ne!(first, fingerprint(&[&file], Effort::Dev).unwrap());
        fs::write(&file, "two").unwrap();
        assert_ne!(first, fingerprint(&[&file], Effort::Release).unwrap());
        assert!(fingerprint(&[&dir.path().join("absent")], Effort::Dev).is_err());
    }
}

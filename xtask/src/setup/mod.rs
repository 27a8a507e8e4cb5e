//! `cargo xtask setup`: finds or installs everything that Marea is built, tested and shown with.
//!
//! Every need is *looked at* by a module of its own, which answers with the thing it found or with a `Missing`
//! that says why it is needed and how it can be had. Looking changes nothing and takes well under a second, so
//! nothing is remembered between runs that could turn out to be stale. What is never done here: changing the
//! shell's configuration, or installing anything outside the package managers named in `install`.

mod apt;
mod c_compiler;
mod chromium;
mod clang;
mod compiler;
mod extras;
mod install;
mod jvm;
mod keychain;
mod npm;
mod python;
mod servers;
mod webkit;

use std::{path::PathBuf, thread};

use anyhow::{Result, bail};

use crate::{
    clock::{Stopwatch, spoken},
    say,
};
pub(crate) use {
    clang::Clang,
    compiler::{TARGET, WasmCompiler, system_run},
};

/// Everything that the other tasks use.
pub(crate) struct Tools {
    pub(crate) compiler: WasmCompiler,
    pub(crate) clang: Clang,
    pub(crate) node: PathBuf,
    pub(crate) chromium: PathBuf,
}

/// A needed thing that is not there.
pub(crate) struct Missing {
    /// What it is, as a person would call it.
    pub(crate) name: &'static str,
    /// What is wrong, and what the thing is for.
    pub(crate) why: String,
    /// How setup itself can get it, if it can.
    pub(crate) fix: Fix,
    /// How a person can get it.
    pub(crate) by_hand: String,
}

/// How setup can get a missing thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fix {
    /// Rust's precompiled standard library for wasm32, through rustup; failing that, these apt packages.
    RustTarget { or_apt: Vec<apt::Wanted> },
    /// Packages of Debian or a relative.
    Apt(Vec<apt::Wanted>),
    /// `npm ci` in the workspace.
    NpmPackages,
    /// Only by hand.
    None,
}

/// A found thing and a few words about it, or what is missing.
type Look<T> = Result<(T, String), Missing>;

/// What one look at the whole machine saw.
struct Findings {
    clang: Look<Clang>,
    compiler: Look<WasmCompiler>,
    node: Look<PathBuf>,
    packages: Look<()>,
    postgres: Look<PathBuf>,
    postgrest: Look<PathBuf>,
    chromium: Look<PathBuf>,
    python: Look<PathBuf>,
    c_compiler: Look<()>,
    keychain: Look<()>,
    extras: Look<()>,
}

impl Findings {
    /// Looks at everything at once: each look mostly waits for a program to say its version.
    fn look() -> Self {
        thread::scope(|scope| {
            let clang = scope.spawn(clang::look);
            let compiler = scope.spawn(compiler::look);
            let node = scope.spawn(npm::look_for_node);
            let packages = scope.spawn(npm::look_for_packages);
            let postgres = scope.spawn(servers::look_for_postgres);
            let postgrest = scope.spawn(servers::look_for_postgrest);
            let chromium = scope.spawn(chromium::look);
            let python = scope.spawn(python::look);
            let c_compiler = scope.spawn(c_compiler::look);
            let keychain = scope.spawn(keychain::look);
            let extras = scope.spawn(extras::look);
            Self {
                clang: clang.join().expect(PANICKED),
                compiler: compiler.join().expect(PANICKED),
                node: node.join().expect(PANICKED),
                packages: packages.join().expect(PANICKED),
                postgres: postgres.join().expect(PANICKED),
                postgrest: postgrest.join().expect(PANICKED),
                chromium: chromium.join().expect(PANICKED),
                python: python.join().expect(PANICKED),
                c_compiler: c_compiler.join().expect(PANICKED),
                keychain: keychain.join().expect(PANICKED),
                extras: extras.join().expect(PANICKED),
            }
        })
    }

    fn missing(&self) -> Vec<&Missing> {
        let mut missing = Vec::new();
        missing.extend(self.compiler.as_ref().err());
        missing.extend(self.clang.as_ref().err());
        missing.extend(self.node.as_ref().err());
        missing.extend(self.packages.as_ref().err());
        missing.extend(self.postgres.as_ref().err());
        missing.extend(self.postgrest.as_ref().err());
        missing.extend(self.chromium.as_ref().err());
        missing.extend(self.python.as_ref().err());
        missing.extend(self.c_compiler.as_ref().err());
        missing.extend(self.keychain.as_ref().err());
        missing.extend(self.extras.as_ref().err());
        missing
    }

    /// One line for each thing that is there.
    fn report(&self) {
        fn line<T>(name: &str, look: &Look<T>) {
            if let Ok((_, about)) = look {
                eprintln!("  ✓ {name}: {about}");
            }
        }
        line("Rust for wasm32", &self.compiler);
        line("clang for wasm32", &self.clang);
        line("Node", &self.node);
        line("npm packages", &self.packages);
        line("Postgres", &self.postgres);
        line("PostgREST", &self.postgrest);
        line("browser", &self.chromium);
        line("Python", &self.python);
        line("C compiler", &self.c_compiler);
        line("keychain", &self.keychain);
        line("extras from Debian", &self.extras);
    }

    fn into_tools(self) -> Result<Tools, Box<Self>> {
        match self {
            Self {
                clang: Ok((clang, _)),
                compiler: Ok((compiler, _)),
                node: Ok((node, _)),
                packages: Ok(_),
                postgres: Ok(_),
                postgrest: Ok(_),
                chromium: Ok((chromium, _)),
                python: Ok(_),
                c_compiler: Ok(_),
                keychain: Ok(_),
                extras: Ok(_),
            } => Ok(Tools { compiler, clang, node, chromium }),
            incomplete => Err(Box::new(incomplete)),
        }
    }
}

const PANICKED: &str = "a look at the machine does not panic";

/// `setup --check`: reports, changes nothing.
pub(crate) fn check() -> Result<()> {
    let findings = Findings::look();
    findings.report();
    let missing = findings.missing();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(explain(&missing));
}

/// `setup`: installs what is missing and reports what is there.
pub(crate) fn run() -> Result<()> {
    let watch = Stopwatch::start();
    ensure()?;
    Findings::look().report();
    eprintln!("Everything is there ({}).", spoken(watch.elapsed()));
    Ok(())
}

/// Installs what is missing, and says nothing when nothing is.
pub(crate) fn ensure() -> Result<Tools> {
    let findings = match Findings::look().into_tools() {
        Ok(tools) => return Ok(with_source(tools)),
        Err(findings) => findings,
    };
    say::heading("Setting up what Marea needs:");
    for missing in findings.missing() {
        eprintln!("  - {}: {}", missing.name, missing.why);
    }
    install::all(&findings.missing());
    match Findings::look().into_tools() {
        Ok(tools) => Ok(with_source(tools)),
        Err(findings) => bail!(explain(&findings.missing())),
    }
}

/// What `cargo xtask bindings --test` needs on top, installed when it is missing.
pub(crate) fn ensure_for_bindings() -> Result<Tools> {
    let tools = ensure()?;
    if let Err(missing) = jvm::look() {
        eprintln!("  - {}: {}", missing.name, missing.why);
        install::all(&[&missing]);
    }
    match jvm::look() {
        Ok(_) => Ok(tools),
        Err(missing) => bail!(explain(&[&missing])),
    }
}

/// Whether the toolchain that runs xtask builds the standard library along.
pub(crate) fn has_small_library() -> bool {
    compiler::has_small_library()
}

/// Tries to get the standard library's source, and goes on without it where it is not to be had.
fn with_source(mut tools: Tools) -> Tools {
    if let WasmCompiler::Ready { source: source @ false } = &mut tools.compiler {
        install::add_rust_source();
        *source = compiler::has_small_library();
    }
    tools
}

/// What `cargo xtask tauri` needs on top, installed when it is missing; gives Node.
pub(crate) fn ensure_for_tauri() -> Result<PathBuf> {
    let tools = ensure()?;
    // Twice: the library can be asked for only once there is pkg-config.
    for _ in 0..2 {
        if let Err(missing) = webkit::look() {
            eprintln!("  - {}: {}", missing.name, missing.why);
            install::all(&[&missing]);
        }
    }
    match webkit::look() {
        Ok(_) => Ok(tools.node),
        Err(missing) => bail!(explain(&[&missing])),
    }
}

/// All missing things and the way to each, in one message.
fn explain(missing: &[&Missing]) -> String {
    let noun = if missing.len() == 1 { "1 thing is" } else { "things are" };
    let count = if missing.len() == 1 { String::new() } else { format!("{} ", missing.len()) };
    missing.iter().fold(format!("{count}{noun} missing:"), |text, missing| {
        let by_hand = missing.by_hand.replace('\n', "\n      ");
        format!("{text}\n  ✗ {}: {}\n      {by_hand}", missing.name, missing.why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_thing_is_listed_with_its_way() {
        let thing = |name, by_hand: &str| Missing {
            name,
            why: "nowhere".to_owned(),
            fix: Fix::None,
            by_hand: by_hand.to_owned(),
        };
        let (one, two) = (thing("browser", "get Chrome"), thing("Node", "get Node"));
        assert_eq!(explain(&[&one]), "1 thing is missing:\n  ✗ browser: nowhere\n      get Chrome");
        let both = explain(&[&one, &two]);
        assert!(both.starts_with("2 things are missing:"), "{both}");
        assert!(both.contains("get Chrome") && both.contains("get Node"), "{both}");
    }
}

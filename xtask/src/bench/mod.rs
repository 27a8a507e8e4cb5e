//! `cargo xtask bench`: measurements, each against a named baseline in the same run. They are programs of `marea-tests`
//! and, where a browser is measured, of Node; the xtask stays light.

use anyhow::Result;
use clap::ValueEnum;

use crate::{build, paths, run::Run, setup, wasm};

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// The engine: durable writes, reads, long queues, a first sync and its memory, a long push
    Core,
    /// The Postgres side: syncs, pushes, triggers, migrations, the backfill
    Postgres,
    /// What one server carries: a year of 1,000 users, and their devices through PostgREST; what a router in front of several costs
    Capacity,
    /// The desktop: start-up, an idle client, the program's size, a first sync, a large file
    Native,
    /// The browser's side, beside bare SQLite, PowerSync, RxDB and Legend-State
    Web,
    /// Wake-ups: from one device to another in Chromium, from a commit to a frame, and what idle sockets cost
    Wakeups,
    /// The vault: unlocking natively and in Chromium, sealing, opening, the length of an envelope
    Vault,
}

/// Measures and prints a table, or JSON.
pub(crate) fn run(what: What, json: bool) -> Result<()> {
    match what {
        What::Core => of_rust_released("bench_core", json),
        What::Postgres => of_rust("bench_postgres", json),
        // The gateway is in the program itself: unoptimized it would hide what the router costs.
        What::Capacity => of_rust_released("bench_capacity", false),
        What::Native => native(json),
        What::Web => web(json),
        What::Wakeups => wakeups(json),
        What::Vault => vault(json),
    }
}

fn native(json: bool) -> Result<()> {
    // A start-up is the user's: measured as it is shipped.
    let own = ["--package", "marea-native", "--bin", "marea"];
    let instruments = ["--package", "marea-tests", "--bin", "bare_tokio", "--bin", "idle_client"];
    Run::new("cargo").args(["build", "--quiet", "--release"]).args(own).show()?;
    Run::new("cargo").args(["build", "--quiet", "--release"]).args(instruments).show()?;
    of_rust_released("bench_native", json)
}

/// The engine is measured as it is shipped: it is in the program itself.
fn of_rust_released(program: &str, json: bool) -> Result<()> {
    let words = ["run", "--quiet", "--release", "--package", "marea-tests", "--bin", program, "--"];
    Run::new("cargo").args(words).args(json.then_some("--json")).show()
}

/// Natively beside OpenSSL, in Chromium beside WebCrypto. As JSON only the first: Node's runner prints the other.
fn vault(json: bool) -> Result<()> {
    of_rust("bench_vault", json)?;
    if json {
        return Ok(());
    }
    let tools = setup::ensure()?;
    wasm::build(&tools, wasm::Effort::Release)?;
    build::npm_package()?;
    Run::new(&tools.node)
        .args(["--test", "--test-reporter=spec"])
        .arg(paths::root().join("tests/browser/vault-figures.test.mjs"))
        .env("MAREA_CHROMIUM", &tools.chromium)
        .show()
}

/// The gateway's part alone, then two browsers.
fn wakeups(json: bool) -> Result<()> {
    of_rust_released("bench_wakeups", json)?;
    let tools = setup::ensure()?;
    wasm::build(&tools, wasm::Effort::Release)?;
    build::npm_package()?;
    let binaries = build::Binaries::build()?;
    Run::new(&tools.node)
        .arg(paths::root().join("tests").join("bench-wakeups").join("run.mjs"))
        .env("MAREA_CHROMIUM", &tools.chromium)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .show()
}

fn of_rust(program: &str, json: bool) -> Result<()> {
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", program, "--"];
    Run::new("cargo").args(words).args(json.then_some("--json")).show()
}

/// The peers are installed by the program itself, into `target/`: nothing else needs them.
fn web(json: bool) -> Result<()> {
    let tools = setup::ensure()?;
    wasm::build(&tools, wasm::Effort::Release)?;
    build::npm_package()?;
    let binaries = build::Binaries::build()?;
    Run::new(&tools.node)
        .arg(paths::root().join("tests").join("bench-web").join("run.mjs"))
        .args(json.then_some("--json"))
        .env("MAREA_CHROMIUM", &tools.chromium)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .show()
}

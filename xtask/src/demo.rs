//! `cargo xtask demo`: everything built and running, to be looked at; `--headless`: the story, played by itself.
//!
//! The story is told in `demo/story.mjs`; this file only brings up what it plays on, and ends it all afterwards.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    build::{self, Binaries},
    paths,
    run::Run,
    say,
    service::Service,
    setup::{self, Tools},
    stop::{Event, Events},
    wasm,
};

/// Builds, starts, and either waits for Ctrl-C or plays the story.
pub(crate) fn run(headless: bool) -> Result<ExitCode> {
    let tools = setup::ensure()?;
    say::heading("Building");
    wasm::build(&tools, wasm::Effort::Release)?;
    build::npm_package()?;
    build::page()?;
    let binaries = Binaries::build()?;

    say::heading("Starting");
    let events = Events::listen()?;
    let tables = paths::root().join("demo").join("tables.sql");
    let backend = Run::new(&binaries.backend).arg("--sql").arg(tables);
    let (_backend, ready) = Service::start("backend", backend, events.sender.clone())?;
    let (_page, page) = Service::start("page", page_server(&tools, &ready)?, events.sender.clone())?;
    let url = page["url"].as_str().context("the page's server did not say its address")?;
    let two = page["two"].as_str().context("the page's server did not say where two devices are")?;
    if headless { story(&tools, &binaries, &ready, (url, two), &events) } else { show(url, two, &events) }
}

/// Serves the page; of what the backend said, it is given only what the page may know.
fn page_server(tools: &Tools, ready: &Value) -> Result<Run> {
    let public = json!({ "url": ready["url"], "anon_key": ready["anon_key"] });
    let server = paths::root().join("demo").join("serve.mjs");
    Ok(Run::new(&tools.node).arg(server).args(["--config", &public.to_string()]))
}

fn show(url: &str, two: &str, events: &Events) -> Result<ExitCode> {
    println!("\n  Marea's demo is at  {url}");
    println!("  Two devices in one window:  {two}\n");
    println!("  Sign in as learner1@example.com or learner2@example.com, password marea-demo.");
    println!("  Ctrl-C ends it.");
    Ok(match events.next() {
        Event::Stop => {
            eprintln!("\nStopping.");
            ExitCode::SUCCESS
        }
        Event::Ended(name) => {
            eprintln!("\nThe {name} ended by itself; stopping the rest.");
            ExitCode::FAILURE
        }
    })
}

/// Plays the story; its exit code is the demo's, and its last line of standard output stays the last.
fn story(
    tools: &Tools,
    binaries: &Binaries,
    ready: &Value,
    (url, two): (&str, &str),
    events: &Events,
) -> Result<ExitCode> {
    say::heading("The story");
    let story = Run::new(&tools.node)
        .arg(paths::root().join("demo").join("story.mjs"))
        .env("MAREA_BACKEND", ready.to_string())
        .env("MAREA_PAGE_URL", url)
        .env("MAREA_TWO_URL", two)
        .env("MAREA_BIN", &binaries.marea)
        .env("MAREA_CHROMIUM", &tools.chromium);
    let mut story = Service::start_loud("story", story, events.sender.clone())?;
    match events.next() {
        Event::Stop => eprintln!("\nStopping."),
        Event::Ended("story") => (),
        Event::Ended(name) => eprintln!("\nThe {name} ended in the middle of the story."),
    }
    let code = story.status().and_then(|status| status.code());
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

//! libmarea as C and Python use it: the header, the installed library, the examples against a real backend, and every entry
//! under AddressSanitizer with LeakSanitizer.

use std::path::Path;
use std::process::Command;

use marea_tests::c_program::{Installed, root, succeed};
use marea_tests::header;
use marea_tests::world::{PASSWORD, World};

const SANITIZED: [&str; 3] =
    ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// A program of learner 1, on a folder of its own.
async fn of_learner(world: &World, program: impl AsRef<Path>, folder: &Path) -> Command {
    let ready = world.backend().ready();
    let mut command = Command::new(program.as_ref());
    command
        .env("MAREA_DIR", folder)
        .env("MAREA_URL", &ready.url)
        .env("MAREA_KEY", &ready.publishable_key)
        .env("MAREA_TOKEN", world.token(1, 3600))
        .env_remove("MAREA_USER");
    command
}

fn sanitized(command: &mut Command) {
    command.env("ASAN_OPTIONS", "detect_leaks=1:halt_on_error=1:exitcode=99");
    // The library was compiled without the sanitizer's frames.
    command.env("LSAN_OPTIONS", "report_objects=1");
}

#[test]
fn the_header_is_what_the_sources_say() {
    let stands = std::fs::read_to_string(header::file()).expect("the header");
    assert!(stands == header::generate(), "{} is stale: cargo xtask header", header::NAME);
}

#[test]
fn every_entry_of_the_header_is_used_by_the_test_of_entries() {
    let header = std::fs::read_to_string(header::file()).expect("the header");
    let used = std::fs::read_to_string(root().join("tests/c/entries.c")).expect("the program");
    let declared = header.lines().filter(|line| !line.starts_with([' ', '/', '#'])).filter_map(|line| {
        let start = line.find("marea_")?;
        Some(&line[start..line.find('(')?])
    });
    let declared: Vec<_> = declared.collect();
    assert!(declared.len() > 40, "{declared:?}");
    let unused: Vec<_> = declared.iter().filter(|name| !used.contains(&format!("{name}("))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// What only hands out a text, or takes one back: nothing in them can panic.
const UNGUARDED: [&str; 3] = ["marea_string_free", "marea_version", "marea_code_name"];

#[test]
fn every_entry_lets_no_panic_through() {
    let mut seen = 0;
    for file in std::fs::read_dir(root().join("native/c/src/abi")).expect("the entries' sources") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        for entry in text.split("extern \"C\" fn ").skip(1) {
            let (name, rest) = entry.split_once('(').expect("arguments");
            let body = rest.split("\n}\n").next().expect("an end");
            assert!(body.contains("guard(") || UNGUARDED.contains(&name), "{name} catches no panic");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_c_example_records_and_syncs_shared_static_and_under_the_sanitizer() {
    let world = World::shared().await;
    let installed = Installed::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let variants = [
        ("practice", "-O2".to_owned()),
        ("practice-static", "-O2".to_owned()),
        ("practice", SANITIZED.join(" ")),
    ];
    for (number, (target, flags)) in variants.iter().enumerate() {
        let into = folder.path().join(number.to_string());
        std::fs::create_dir(&into).expect("a folder");
        let program = installed.make(target, flags, &into);
        let mut command = of_learner(&world, program, &folder.path().join("data")).await;
        sanitized(&mut command);
        let output = {
            command.arg("12");
            succeed(command, target)
        };
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(said.contains("recorded: {") && said.ends_with("waiting: 0\n"), "{said}");
        assert!(said.contains(&format!("\"total_sessions\":{}", number + 1)), "{said}");
        assert_eq!(world.total_sessions_of(1).await, i64::try_from(number + 1).expect("a small number"));
    }
}

#[test]
fn the_c_of_the_documents_is_compiled() {
    let here = std::fs::read_to_string(root().join("tests/c/documents.c")).expect("the program");
    let text = std::fs::read_to_string(root().join("docs/DESKTOP.md")).expect("the document");
    let blocks: Vec<&str> =
        text.split("\n```c\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(!blocks.is_empty());
    for line in blocks.iter().flat_map(|block| block.lines()) {
        assert!(here.lines().any(|compiled| compiled.trim() == line.trim()), "not compiled: {line}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    Installed::shared().compile("documents", &[], folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_does_what_it_says_and_leaks_nothing() {
    let world = World::shared_with_accounts().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Installed::shared().compile("entries", &SANITIZED, folder.path());
    let ready = world.backend().ready();
    let mut command = Command::new(program);
    command.arg(folder.path()).args([&ready.url, &ready.anon_key, &world.token(1, 3600)]);
    command.args([&world.email(2).await, PASSWORD]);
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
    sanitized(&mut command);
    let output = succeed(command, "entries");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "every entry did what it says\n");
    assert_eq!(world.total_sessions_of(1).await, 2, "one recorded, one imported");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_records_and_syncs_and_raises() {
    let world = World::shared().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = async |token: &str| {
        let mut command = of_learner(&world, "python3", folder.path()).await;
        command.arg(root().join("examples/python/practice.py")).arg("7").env("MAREA_TOKEN", token);
        command.env("MAREA_LIBRARY", Installed::shared().lib().join("libmarea.so.0"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let token = world.token(1, 3600);
    let output = succeed(run(&token).await, "python3 (of Debian's package python3)");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        said.starts_with("before: 0\nrecorded: ") && said.ends_with("after: 1\nsynced: done 1\n"),
        "{said}"
    );
    assert_eq!(world.total_sessions_of(1).await, 1);

    let refused = run("no token").await.output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.starts_with("invalid_input: ") && said.lines().count() == 1, "{said}");
}

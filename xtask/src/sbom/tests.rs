//! The documents that are made here are ones by the rules of CycloneDX 1.6, as far as its schema requires something of them.

use super::*;

/// What the schema requires: of the document, of each component, of each dependency; references that are unique and lead somewhere.
fn check(document: &Value) {
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    assert!(document["version"].as_u64().is_some_and(|version| version >= 1));
    let components = document["components"].as_array().expect("components");
    let all: Vec<&Value> = components.iter().chain([&document["metadata"]["component"]]).collect();
    let mut refs = BTreeSet::new();
    for part in &all {
        assert!(["library", "application"].contains(&part["type"].as_str().expect("a type")), "{part}");
        assert!(part["name"].as_str().is_some_and(|name| !name.is_empty()), "{part}");
        let purl = part["purl"].as_str().expect("a purl");
        assert!(purl.starts_with("pkg:") && purl.contains('@') && !purl.contains(' '), "{part}");
        assert!(refs.insert(part["bom-ref"].as_str().expect("a reference")), "twice: {part}");
        for licence in part["licenses"].as_array().expect("a licence") {
            let is_named = licence["license"]["name"].is_string();
            assert!(is_named ^ licence["expression"].as_str().is_some_and(|it| !it.contains('/')), "{part}");
        }
        for hash in part["hashes"].as_array().into_iter().flatten() {
            let content = hash["content"].as_str().expect("a hash");
            let is_hex = content.len() == 64 && content.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(hash["alg"] == "SHA-256" && is_hex, "{part}");
        }
    }
    let mut told = BTreeSet::new();
    for dependency in document["dependencies"].as_array().expect("dependencies") {
        let name = dependency["ref"].as_str().expect("a reference");
        assert!(refs.contains(name) && told.insert(name), "{dependency}");
        for below in dependency["dependsOn"].as_array().into_iter().flatten() {
            assert!(refs.contains(below.as_str().expect("a reference")), "{dependency}");
        }
    }
    assert_eq!(told, refs);
}

#[test]
fn what_the_browser_gets_is_listed_and_nothing_of_the_desktop() {
    let document = of(&crate::package::release()).expect("a document");
    check(&document);
    let components = document["components"].as_array().expect("components");
    let find = |name: &str| components.iter().find(|part| part["name"] == name);
    for name in ["marea-core", "ring", "rusqlite", "sqlite-wasm-rs", "sqlite", "wasm-bindgen"] {
        assert!(find(name).is_some(), "{name}");
    }
    // Of the desktop, of tests, and what only makes things.
    for name in [
        "reqwest",
        "tokio",
        "rustls",
        "libsqlite3-sys",
        "proptest",
        "cc",
        "clap",
        "serde_derive",
        "syn",
        "typescript",
    ] {
        assert!(find(name).is_none(), "{name}");
    }
    assert!(find("ring").expect("ring")["hashes"][0]["content"].is_string());
    assert_eq!(document, of(&crate::package::release()).expect("a document"), "the same of the same");
}

#[test]
fn what_the_desktop_gets_is_listed() {
    let component = json!({
        "type": "application", "bom-ref": "marea", "name": "marea", "version": "1", "purl": "pkg:cargo/marea-native@1",
        "licenses": [{"expression": "MIT"}],
    });
    let document = of(&Release { package: "marea-native", platform: None, component }).expect("a document");
    check(&document);
    let text = document.to_string();
    for name in ["pkg:cargo/reqwest@", "pkg:cargo/libsqlite3-sys@", "pkg:generic/sqlite@3."] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn what_npm_would_install_is_followed_to_its_end() {
    let lock = json!({"packages": {
        "wasm": {"name": "@marea/client", "dependencies": {"a": "1"}, "devDependencies": {"tool": "1"}},
        "node_modules/a": {"version": "1.0.0", "license": "MIT", "dependencies": {"@s/b": "1"}},
        "node_modules/@s/b": {"version": "2.0.0", "license": "ISC", "dependencies": {"a": "1"}},
        "node_modules/tool": {"version": "1.0.0"},
    }});
    let own = json!({"group": "@marea", "name": "client"});
    let found = npm_components(&lock, &own);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.0.0"]);
}

#[test]
fn a_tree_is_read_with_what_it_repeats() {
    let tree = "0own v0.1.0 (/somewhere)\n1a v1.0.0\n2b v2.0.0+x\n1c v3.0.0\n2a v1.0.0 (*)\n\n";
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let expected = [
        ("own 0.1.0".to_owned(), set(&["a 1.0.0", "c 3.0.0"])),
        ("a 1.0.0".to_owned(), set(&["b 2.0.0+x"])),
        ("b 2.0.0+x".to_owned(), set(&[])),
        ("c 3.0.0".to_owned(), set(&["a 1.0.0"])),
    ];
    assert_eq!(edges(tree).expect("a tree"), expected);
    assert!(edges("own v1").is_err() && edges("0own").is_err());
}

#[test]
fn checksums_and_versions_are_read() {
    let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00\"\n\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n";
    assert_eq!(checksums(lock), BTreeMap::from([("a 1.0.0".to_owned(), "00".to_owned())]));
    assert_eq!(sqlite_version("/* */\n#define SQLITE_VERSION        \"3.51.0\"\n"), Some("3.51.0"));
}

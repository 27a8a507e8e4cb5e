//! The header of libmarea, as cbindgen writes it from `native/c`. `cargo xtask header` keeps `native/include/marea.h` so.

use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config, DocumentationStyle, EnumConfig, ExportConfig, Language, RenameRule, Style};

/// The file, as people call it.
pub const NAME: &str = "native/include/marea.h";

/// What the header says before the first declaration.
const HEAD: &str = include_str!("header_head.h");

/// The sources that declare something for C, in the order of the header.
const SOURCES: [&str; 11] = [
    "code.rs",
    "problem.rs",
    "abi/general.rs",
    "abi/client.rs",
    "abi/adopt.rs",
    "abi/exports.rs",
    "abi/tables.rs",
    "abi/queue.rs",
    "abi/watch.rs",
    "abi/sign_in.rs",
    "abi/vault.rs",
];

/// Where the header lies.
pub fn file() -> PathBuf {
    root().join(NAME)
}

/// What it should say.
///
/// # Panics
/// When cbindgen does not understand the sources.
pub fn generate() -> String {
    let mut config = Config {
        language: Language::C,
        cpp_compat: true,
        header: Some(HEAD.trim_end().to_owned()),
        include_guard: Some("MAREA_H".to_owned()),
        documentation_style: DocumentationStyle::Doxy,
        style: Style::Both,
        line_length: 120,
        usize_is_size_t: true,
        export: ExportConfig { include: vec!["MareaSignal".to_owned()], ..ExportConfig::default() },
        enumeration: EnumConfig {
            rename_variants: RenameRule::QualifiedScreamingSnakeCase,
            ..EnumConfig::default()
        },
        ..Config::default()
    };
    config.function.sort_by = Some(cbindgen::SortKey::None);
    let sources = root().join("native").join("c").join("src");
    let builder = SOURCES
        .iter()
        .fold(Builder::new().with_config(config), |builder, name| builder.with_src(sources.join(name)));
    let mut text = Vec::new();
    builder.generate().expect("cbindgen understands native/c").write(&mut text);
    String::from_utf8(text).expect("a header is UTF-8")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

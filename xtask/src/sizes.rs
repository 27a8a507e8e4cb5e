//! What an app's user downloads: part by part, and whether it is within its limit.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

use crate::{build, paths, run::Run, setup, wasm};

/// A file's size as it is, and as a server sends it.
#[derive(Serialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    raw_bytes: u64,
    gzip_bytes: u64,
}

/// What an app's user downloads, whichever of it the app uses.
const DOWNLOADED: [&str; 5] =
    ["marea_wasm_bg.wasm", "index.js", "worker.js", "supabase.js", "react/index.js"];
/// What only those load who ask for it, and what each may weigh gzipped.
const APART: [(&str, u64); 11] = [
    ("devtools.js", 8_192),
    ("vite.js", 2_048),
    ("writers.js", 4_096),
    ("vue.js", 2_048),
    ("svelte.js", 2_048),
    ("solid.js", 2_048),
    ("tanstack-db.js", 2_048),
    ("kysely.js", 2_048),
    ("opentelemetry.js", 2_048),
    // The face without the engine, which a program loads from its disk, and a window from its app.
    ("node/index.js", 14_336),
    ("tauri.js", 14_336),
];

/// What all that is downloaded may weigh, as servers send it: docs/adr/0103-the-apps-own-sql.md, and for files
/// docs/adr/0129-a-file-goes-to-the-leader-as-a-blob.md; for guests, imports, labels and frozen days 131 to 134;
/// for wake-ups 126; for doubles that are read exactly 50.
const LIMIT_GZIP_BYTES: u64 = 663_000;
/// Over the 540,000 that were aimed at: ADR 103 says what was tried, and what came since.
const LIMIT_BROTLI_BYTES: u64 = 569_500;

/// What the module may weigh more where the standard library's source was not to be had, which docs/adr/0161-panics-are-traps.md builds along:
/// what is published is built with it.
const WITHOUT_SOURCE: u64 = 32_000;

/// The sum of the sizes of the files that are named as arguments, compressed with Brotli, each by itself.
const BROTLI: &str = "const { readFileSync } = require('fs'), { brotliCompressSync } = require('zlib')
console.log(process.argv.slice(1).reduce((sum, file) => sum + brotliCompressSync(readFileSync(file)).length, 0))";

/// The figures.
#[derive(Serialize)]
struct Sizes {
    /// The browser's module alone.
    wasm: Size,
    /// The page's JavaScript.
    script: Size,
    /// The worker's JavaScript, with the generated one around the module.
    worker: Size,
    /// For an app that uses supabase-js.
    supabase: Size,
    /// The React hooks, for an app that uses them.
    react: Size,
    /// All of these: the module and the JavaScript, each file as it is served.
    client: Size,
    /// The entries that only those load who ask for them.
    apart: Vec<(&'static str, Size)>,
    /// The demo's whole page: Marea, React, styles and fonts.
    page: Size,
}

/// `cargo xtask sizes`: the figures as one line of JSON.
pub(crate) fn run() -> Result<()> {
    wasm::build(&setup::ensure()?, wasm::Effort::Release)?;
    build::npm_package()?;
    build::page()?;
    println!("{}", serde_json::to_string(&measure()?)?);
    Ok(())
}

/// The figures of what is built, for a person.
pub(crate) fn print() -> Result<()> {
    let sizes = measure()?;
    for (name, size) in [
        ("wasm module", sizes.wasm),
        ("JavaScript", sizes.script),
        ("its worker", sizes.worker),
        ("for Supabase", sizes.supabase),
        ("React hooks", sizes.react),
        ("all of it", sizes.client),
        ("demo page", sizes.page),
    ] {
        line(name, size);
    }
    for (name, size) in sizes.apart {
        line(name, size);
    }
    println!("  all of it with Brotli: {}", brotli(&downloaded())?);
    println!("  the limits for all of it: {LIMIT_GZIP_BYTES} gzipped, {LIMIT_BROTLI_BYTES} with Brotli");
    Ok(())
}

fn line(name: &str, size: Size) {
    println!("  {name:<12} {:>9} bytes  {:>9} gzipped", size.raw_bytes, size.gzip_bytes);
}

/// Fails when what is built weighs more than it may, or has a file that nobody weighs.
pub(crate) fn within_limit() -> Result<()> {
    for file in files(&dist(), &["js", "wasm"])? {
        let name = file.strip_prefix(dist())?;
        // What is for unit tests no browser loads.
        if name.starts_with("testing") {
            continue;
        }
        if !DOWNLOADED.iter().chain(APART.iter().map(|(name, _)| name)).any(|known| name == Path::new(known))
        {
            bail!(
                "{} is in the package, and xtask/src/sizes.rs does not say what it may weigh",
                name.display()
            );
        }
    }
    for (name, limit) in APART {
        let Size { gzip_bytes, .. } = size(&dist().join(name))?;
        if gzip_bytes > limit {
            bail!("{name}: {gzip_bytes} bytes gzipped, and {limit} is the limit: `cargo xtask sizes`");
        }
    }
    let more = if setup::has_small_library() { 0 } else { WITHOUT_SOURCE };
    if more > 0 {
        eprintln!(
            "  built without the standard library's source (rustup component add rust-src): {more} bytes more are allowed"
        );
    }
    judge(sum(&downloaded())?.gzip_bytes, brotli(&downloaded())?, more)
}

fn judge(gzip: u64, brotli: u64, more: u64) -> Result<()> {
    for (bytes, limit, how) in
        [(gzip, LIMIT_GZIP_BYTES, "gzipped"), (brotli, LIMIT_BROTLI_BYTES, "with Brotli")]
    {
        let limit = limit + more;
        if bytes > limit {
            bail!("{bytes} bytes {how}, and {limit} is the limit: `cargo xtask sizes`");
        }
    }
    Ok(())
}

/// Node has Brotli, and is there anyway.
fn brotli(files: &[PathBuf]) -> Result<u64> {
    let said = Run::new("node").args(["-e", BROTLI]).args(files).read()?;
    said.trim().parse().context("node did not say how large the files are")
}

fn downloaded() -> Vec<PathBuf> {
    DOWNLOADED.map(|name| dist().join(name)).to_vec()
}

fn dist() -> PathBuf {
    paths::root().join("wasm").join("dist")
}

fn measure() -> Result<Sizes> {
    let page =
        files(&paths::root().join("demo").join("dist"), &["html", "js", "css", "wasm", "woff2", "svg"])?;
    let part = |name: &str| size(&dist().join(name));
    Ok(Sizes {
        wasm: part("marea_wasm_bg.wasm")?,
        script: part("index.js")?,
        worker: part("worker.js")?,
        supabase: part("supabase.js")?,
        react: sum(&files(&dist().join("react"), &["js"])?)?,
        client: sum(&downloaded())?,
        apart: APART.iter().map(|(name, _)| Ok((*name, part(name)?))).collect::<Result<_>>()?,
        page: sum(&page)?,
    })
}

/// The files below a folder whose names end so.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, endings)?);
        } else if path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| endings.contains(&ending))
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn sum(files: &[PathBuf]) -> Result<Size> {
    files.iter().try_fold(Size::default(), |total, file| {
        let size = size(file)?;
        Ok(Size {
            raw_bytes: total.raw_bytes + size.raw_bytes,
            gzip_bytes: total.gzip_bytes + size.gzip_bytes,
        })
    })
}

fn size(file: &Path) -> Result<Size> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    Ok(Size { raw_bytes: bytes.len() as u64, gzip_bytes: encoder.finish()?.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_measured() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("inner").join("a.js"), "x".repeat(1000)).unwrap();
        fs::write(dir.path().join("b.map"), "not downloaded").unwrap();
        let found = files(dir.path(), &["js"]).unwrap();
        assert_eq!(found.len(), 1);
        let size = sum(&found).unwrap();
        assert_eq!(size.raw_bytes, 1000);
        assert!(size.gzip_bytes < 100, "{size:?}");
    }

    #[test]
    fn what_weighs_more_than_it_may_is_refused() {
        assert!(judge(LIMIT_GZIP_BYTES, LIMIT_BROTLI_BYTES, 0).is_ok());
        assert!(judge(LIMIT_GZIP_BYTES + 1, LIMIT_BROTLI_BYTES, 0).is_err());
        assert!(judge(LIMIT_GZIP_BYTES, LIMIT_BROTLI_BYTES + 1, 0).is_err());
        assert!(judge(LIMIT_GZIP_BYTES + 9, LIMIT_BROTLI_BYTES + 9, 9).is_ok());
        assert!(judge(LIMIT_GZIP_BYTES + 10, LIMIT_BROTLI_BYTES, 9).is_err());
    }
}

//! What an app's user downloads, and the npm package that an app's author does.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

use crate::{build, paths, run::Run, setup, wasm};

/// A file's size as it is, and as a server sends it.
#[derive(Serialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    raw_bytes: u64,
    gzip_bytes: u64,
}

/// The figures.
#[derive(Serialize)]
struct Sizes {
    /// The browser's module alone.
    wasm: Size,
    /// Marea as a browser loads it: the module and the package's JavaScript.
    client: Size,
    /// The demo's whole page: Marea, React, styles and fonts.
    page: Size,
}

/// `cargo xtask sizes`: the figures as one line of JSON.
pub(crate) fn run() -> Result<()> {
    build_all()?;
    println!("{}", serde_json::to_string(&measure()?)?);
    Ok(())
}

/// `cargo xtask package`: the tarball that npm would publish, and the figures for a person.
pub(crate) fn package() -> Result<()> {
    build_all()?;
    let tarball = pack()?;
    println!("{}", tarball.display());
    let sizes = measure()?;
    for (name, size) in [("wasm module", sizes.wasm), ("client", sizes.client), ("demo page", sizes.page)] {
        println!("  {name:<12} {:>9} bytes  {:>9} gzipped", size.raw_bytes, size.gzip_bytes);
    }
    Ok(())
}

fn build_all() -> Result<()> {
    wasm::build(&setup::ensure()?, wasm::Effort::Release)?;
    build::npm_package()?;
    build::page()
}

fn measure() -> Result<Sizes> {
    let dist = paths::root().join("wasm").join("dist");
    let client = files(&dist, &["js", "wasm"])?;
    let page =
        files(&paths::root().join("demo").join("dist"), &["html", "js", "css", "wasm", "woff2", "svg"])?;
    Ok(Sizes { wasm: size(&dist.join("marea_wasm_bg.wasm"))?, client: sum(&client)?, page: sum(&page)? })
}

/// Packs the npm package into `target/npm/`, with the name that the package's scope and version give it.
fn pack() -> Result<PathBuf> {
    let out = paths::target().join("npm");
    fs::create_dir_all(&out)?;
    let pack =
        Run::new("npm").args(["pack", "--workspace", "@marea/client", "--silent", "--pack-destination"]);
    let said = pack.arg(&out).read()?;
    let name = said.lines().last().context("npm did not say what it packed")?;
    Ok(out.join(name.trim()))
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
}

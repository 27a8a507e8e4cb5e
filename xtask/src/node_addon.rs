//! The addon of Node, Bun and Electron: a file for the tests, and the package of this platform.
//!
//! It goes by itself, and not with `@marea/client`: an app for browsers would install megabytes that it never loads (ADR 164).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{paths, run::Run, say::Step, sbom};

/// The addon's name in its package, and by itself.
const FILE: &str = "marea.node";

/// What cargo calls the library on this platform.
fn library() -> &'static str {
    match std::env::consts::OS {
        "windows" => "marea_node.dll",
        "macos" => "libmarea_node.dylib",
        _ => "libmarea_node.so",
    }
}

/// The addon that cargo has built into this folder, under a name that Node loads.
pub(crate) fn among(built: &Path) -> Result<PathBuf> {
    let folder = paths::target().join("node");
    fs::create_dir_all(&folder)?;
    let file = folder.join(FILE);
    // Not a copy over one that a program may have loaded.
    let _ = fs::remove_file(&file);
    let from = built.join(library());
    fs::copy(&from, &file).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(file)
}

/// Builds the addon as it is released and packs it for this platform, with a list of its parts. Gives the tarball.
pub(crate) fn pack() -> Result<PathBuf> {
    let step = Step::start("build the addon for Node");
    step.run(
        Run::new("cargo")
            .args(["build", "--release", "--package", "marea-node"])
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    )?;
    step.done();
    let (template, out) = (paths::root().join("native/node/npm"), paths::target().join("npm"));
    let folder = out.join("addon");
    fs::create_dir_all(&folder)?;
    let text = fs::read_to_string(template.join("package.json"))?;
    let manifest = for_platform(serde_json::from_str(&text)?, std::env::consts::OS, std::env::consts::ARCH);
    fs::write(folder.join("package.json"), serde_json::to_vec_pretty(&manifest)?)?;
    fs::copy(template.join("README.md"), folder.join("README.md"))?;
    fs::copy(among(&paths::target().join("release"))?, folder.join(FILE))?;
    let pack = Run::new("npm").args(["pack", "--silent", "--pack-destination"]).arg(&out).dir(&folder);
    let said = pack.read()?;
    let tarball = out.join(said.lines().last().context("npm did not say what it packed")?.trim());
    let parts = tarball.with_extension("cdx.json");
    fs::write(&parts, serde_json::to_vec_pretty(&sbom::of(&release(&manifest))?)?)?;
    eprintln!("  {}", tarball.display());
    Ok(tarball)
}

/// The manifest, with Node's words for another platform than the one that it was written for.
fn for_platform(mut manifest: Value, os: &str, arch: &str) -> Value {
    let os = match os {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let cpu = match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    manifest["name"] = format!("@marea/client-node-{os}-{cpu}").into();
    manifest["description"] = format!("The native part of @marea/client/node for {os} on {cpu}.").into();
    (manifest["os"], manifest["cpu"]) = (json!([os]), json!([cpu]));
    if os != "linux"
        && let Some(manifest) = manifest.as_object_mut()
    {
        manifest.remove("libc");
    }
    manifest
}

fn release(manifest: &Value) -> sbom::Release<'static> {
    let version = env!("CARGO_PKG_VERSION");
    let name = manifest["name"].as_str().unwrap_or_default().trim_start_matches("@marea/").to_owned();
    let purl = format!("pkg:npm/%40marea/{name}@{version}");
    let component = json!({
        "type": "library", "bom-ref": purl, "group": "@marea", "name": name, "version": version, "purl": purl,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    });
    sbom::Release { package: "marea-node", platform: None, component }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_named_as_node_names_the_platform() {
        let manifest = json!({"name": "x", "libc": ["glibc"]});
        let mac = for_platform(manifest.clone(), "macos", "aarch64");
        assert_eq!(mac["name"], "@marea/client-node-darwin-arm64");
        assert_eq!((mac["os"].clone(), mac["cpu"].clone()), (json!(["darwin"]), json!(["arm64"])));
        assert!(mac.get("libc").is_none());
        assert_eq!(for_platform(manifest, "linux", "x86_64")["libc"], json!(["glibc"]));
    }
}

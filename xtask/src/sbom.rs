//! What is inside of what is released, as a CycloneDX 1.6 document: every crate that is compiled into it, the SQLite that comes with
//! one of them, and what npm would install beside it. Made from `cargo metadata` and the two lock files, without a time or a random
//! number, so that the same source gives the same document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{paths, run::Run};

/// What is released, and what it is made of.
pub(crate) struct Release<'a> {
    /// The crate that it begins at.
    pub(crate) package: &'a str,
    /// The platform that it is compiled for; `None` for this one.
    pub(crate) platform: Option<&'a str>,
    /// Its own place in the document.
    pub(crate) component: Value,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: String,
}

/// The document of a release.
pub(crate) fn of(release: &Release<'_>) -> Result<Value> {
    let metadata = Run::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).read()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata says something new")?;
    // Metadata has the features of the whole workspace together; the tree has those of this release. What runs at compile time
    // (build scripts, procedural macros) is no part of it.
    let mut tree =
        Run::new("cargo").args(["tree", "--locked", "--package", release.package, "--format", "{p}"]);
    tree = tree.args(["--edges", "normal,no-proc-macro", "--prefix", "depth"]);
    if let Some(platform) = release.platform {
        tree = tree.args(["--target", platform]);
    }
    let read = |name: &str| {
        fs::read_to_string(paths::root().join(name)).with_context(|| format!("cannot read {name}"))
    };
    let npm: Value = serde_json::from_str(&read("package-lock.json")?)?;
    document(release, &edges(&tree.read()?)?, &metadata, &checksums(&read("Cargo.lock")?), &npm)
}

/// What needs what, of `cargo tree` with the depth before each line. The release itself is the first.
fn edges(tree: &str) -> Result<Vec<(String, BTreeSet<String>)>> {
    let (mut order, mut below): (Vec<String>, BTreeMap<String, BTreeSet<String>>) = Default::default();
    let mut path: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let digits = line.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(0);
        let depth: usize = line[..digits].parse().with_context(|| format!("no depth in `{line}`"))?;
        let mut words = line[digits..].split(' ');
        let (Some(name), Some(version)) =
            (words.next(), words.next().and_then(|word| word.strip_prefix('v')))
        else {
            bail!("no package in `{line}`");
        };
        let package = format!("{name} {version}");
        path.truncate(depth);
        if let Some(above) = path.last() {
            below.entry(above.clone()).or_default().insert(package.clone());
        }
        if !order.contains(&package) {
            order.push(package.clone());
        }
        path.push(package);
    }
    Ok(order
        .into_iter()
        .map(|package| (package.clone(), below.remove(&package).unwrap_or_default()))
        .collect())
}

fn document(
    release: &Release<'_>,
    edges: &[(String, BTreeSet<String>)],
    metadata: &Metadata,
    checksums: &BTreeMap<String, String>,
    npm: &Value,
) -> Result<Value> {
    let packages: BTreeMap<String, &Package> = metadata
        .packages
        .iter()
        .map(|package| (format!("{} {}", package.name, package.version), package))
        .collect();
    let find = |package: &String| {
        packages.get(package).copied().with_context(|| format!("cargo knows no {package}"))
    };
    let (root, _) = edges.first().context("cargo tree is empty")?;
    let own = release.component["bom-ref"].as_str().context("a release without a reference")?.to_owned();
    let reference = |package: &String| match package == root {
        true => Ok(own.clone()),
        false => find(package).map(purl),
    };
    let (mut components, mut dependencies) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for (package, below) in edges {
        let found = find(package)?;
        let mut refs: BTreeSet<String> = below.iter().map(reference).collect::<Result<_>>()?;
        if package != root {
            components.insert(purl(found), component(found, checksums));
        }
        if let Some((name, part)) = sqlite(found)? {
            refs.insert(name.clone());
            dependencies.insert(name.clone(), BTreeSet::new());
            components.insert(name, part);
        }
        dependencies.insert(reference(package)?, refs);
    }
    for (name, found) in npm_components(npm, &release.component) {
        dependencies.entry(own.clone()).or_default().insert(name.clone());
        dependencies.entry(name.clone()).or_default();
        components.insert(name, found);
    }
    let dependencies: Vec<Value> =
        dependencies.iter().map(|(name, below)| json!({"ref": name, "dependsOn": below})).collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": release.component},
        "components": components.values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    }))
}

fn component(package: &Package, checksums: &BTreeMap<String, String>) -> Value {
    let name = purl(package);
    let mut found = json!({
        "type": "library", "bom-ref": name, "name": package.name, "version": package.version, "purl": name, "scope": "required",
    });
    if let Some(licence) = &package.license {
        // Old manifests write `MIT/Apache-2.0`, which is no expression of SPDX.
        found["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(checksum) = checksums.get(&format!("{} {}", package.name, package.version)) {
        found["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    found
}

/// A name that every tool understands (package-url).
fn purl(package: &Package) -> String {
    // `+` is a blank in some readers of addresses.
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

/// The SQLite that a crate brings in C: what reports of vulnerabilities name.
fn sqlite(package: &Package) -> Result<Option<(String, Value)>> {
    if !["libsqlite3-sys", "sqlite-wasm-rs"].contains(&package.name.as_str()) {
        return Ok(None);
    }
    let folder = Path::new(&package.manifest_path).with_file_name("sqlite3");
    let header =
        ["sqlite3.h", "sqlite3.c"].iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
    let version = header.as_deref().and_then(sqlite_version);
    let version = version.with_context(|| format!("{} does not say which SQLite it is", package.name))?;
    let name = format!("pkg:generic/sqlite@{version}");
    let found = json!({
        "type": "library", "bom-ref": name, "name": "sqlite", "version": version, "purl": name, "scope": "required",
        "licenses": [{"license": {"name": "Public Domain"}}], "cpe": format!("cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*"),
    });
    Ok(Some((name, found)))
}

fn sqlite_version(header: &str) -> Option<&str> {
    let line = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "))?;
    line.trim().strip_prefix('"')?.strip_suffix('"')
}

/// `name version` to the SHA-256 of the crate's file.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
            line.strip_suffix('"')
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (field("name"), field("version"), field("checksum"))
        {
            found.insert(format!("{name} {version}"), checksum.to_owned());
        }
    }
    found
}

/// What npm installs along with an npm package, from the lock file. What an app may bring itself is no part of it.
fn npm_components(lock: &Value, own: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let Some(packages) = lock["packages"].as_object() else { return found };
    let name = match (own["group"].as_str(), own["name"].as_str()) {
        (Some(group), Some(name)) => format!("{group}/{name}"),
        _ => return found,
    };
    let Some(package) = packages.values().find(|package| package["name"] == name.as_str()) else {
        return found;
    };
    let mut waiting: Vec<&str> = names(&package["dependencies"]);
    while let Some(name) = waiting.pop() {
        let Some(package) = packages.get(&format!("node_modules/{name}")) else { continue };
        let version = package["version"].as_str().unwrap_or_default();
        let purl = format!("pkg:npm/{}@{version}", name.replace('@', "%40"));
        let mut part = json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required",
        });
        if let Some(licence) = package["license"].as_str() {
            part["licenses"] = json!([{"expression": licence}]);
        }
        if found.insert(purl, part).is_none() {
            waiting.extend(names(&package["dependencies"]));
        }
    }
    found
}

fn names(dependencies: &Value) -> Vec<&str> {
    dependencies.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests;

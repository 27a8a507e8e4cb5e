//! Makes programs usable where they lie in a place that is not: a clone under a private home folder cannot be entered by
//! the user that Postgres runs as, and an npm package may have come without the links to its shared libraries. Such
//! programs are copied, once, to a cache in the temporary folder. It never changes the original.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;
use serde::Deserialize;

use crate::run_as::RunAs;
use crate::{Error, secrets};

/// npm packages hold no links, so the Postgres package lists them and makes them in an install script that may not run.
#[derive(Deserialize)]
struct Link {
    /// The real file, relative to the package.
    source: PathBuf,
    /// The link's place, relative to the package.
    target: PathBuf,
}

/// The folder `bin`, or that of a copy, below `temp`, of the whole installation around it.
pub(crate) fn usable_postgres(bin: &Path, run_as: Option<&RunAs>, temp: &Path) -> Result<PathBuf, Error> {
    let Some(native) = bin.parent() else { return Ok(bin.to_owned()) };
    let links = links(native);
    let complete = links.iter().all(|(_, place)| place.exists());
    let reachable = run_as.is_none_or(|user| {
        let programs = ["postgres", "initdb"].iter().all(|name| user.can_use(&bin.join(name), 5));
        let folders = ["lib", "share"].iter().map(|name| native.join(name)).filter(|folder| folder.exists());
        programs && folders.into_iter().all(|folder| user.can_use(&folder, 5))
    });
    if complete && reachable {
        return Ok(bin.to_owned());
    }
    let copy = cached("postgres", &bin.join("postgres"), temp, |place| {
        copy_tree(native, place)?;
        for (source, link) in &links {
            let Ok(inside) = link.strip_prefix(native) else { continue };
            let link = place.join(inside);
            if let Some(name) = source.file_name().filter(|_| !link.exists()) {
                symlink(name, &link).map_err(Error::file("could not link", &link))?;
            }
        }
        Ok(())
    })?;
    Ok(copy.join(bin.file_name().unwrap_or_default()))
}

/// `program`, or a copy of it below `temp`.
pub(crate) fn usable_program(program: &Path, run_as: Option<&RunAs>, temp: &Path) -> Result<PathBuf, Error> {
    if run_as.is_none_or(|user| user.can_use(program, 5)) {
        return Ok(program.to_owned());
    }
    let name = program.file_name().unwrap_or_default();
    let copy = cached("program", program, temp, |place| {
        fs::create_dir(place).map_err(Error::file("could not make the folder", place))?;
        copy_file(program, &place.join(name))
    })?;
    Ok(copy.join(name))
}

/// The links that the npm package around `native` asks for, each inside it and beside its source.
fn links(native: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Some(package) = native.parent() else { return Vec::new() };
    let text = fs::read(native.join("pg-symlinks.json")).unwrap_or_default();
    let listed: Vec<Link> = serde_json::from_slice(&text).unwrap_or_default();
    let plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let sound = |link: &Link| {
        plain(&link.source) && plain(&link.target) && link.source.parent() == link.target.parent()
    };
    let listed = listed.into_iter().filter(sound);
    listed.map(|link| (package.join(link.source), package.join(link.target))).collect()
}

/// The cached copy that belongs to `original`, made by `make` when it is not there. Two that make it at the same time do
/// not meet: each works beside it and renames at the end.
fn cached(
    kind: &str,
    original: &Path,
    temp: &Path,
    make: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let cache = cache_folder(temp)?;
    let place = cache.join(format!("{kind}-{}", identity(original)?));
    if place.is_dir() {
        return Ok(place);
    }
    let work = tempfile::Builder::new().prefix("making-").tempdir_in(&cache);
    let work = work.map_err(Error::file("could not make a folder in", &cache))?;
    let made = work.path().join("it");
    make(&made)?;
    match fs::rename(&made, &place) {
        // Somebody else's copy of the same thing is as good.
        Err(_) if place.is_dir() => Ok(place),
        Err(source) => Err(Error::File { doing: "could not move the copy to", path: place, source }),
        Ok(()) => Ok(place),
    }
}

/// The cache is in a folder that everybody can write to, so it has to be shown to be ours before anything in it is run.
fn cache_folder(temp: &Path) -> Result<PathBuf, Error> {
    let uid = geteuid().as_raw();
    let cache = temp.join(format!("marea-programs-{uid}"));
    match fs::create_dir(&cache) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::file("could not make the folder", cache)(error));
        }
        _ => {}
    }
    let entry = fs::symlink_metadata(&cache).map_err(Error::file("could not look at", &cache))?;
    if !entry.is_dir() || entry.uid() != uid {
        return Err(Error::WrongPlace { path: cache, wanted: "folder of this user", named_by: "TMPDIR" });
    }
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(&cache, mode).map_err(Error::file("could not set the mode of", &cache))?;
    Ok(cache)
}

/// Changes whenever the program does, without reading it: where it is, its size and its time.
fn identity(program: &Path) -> Result<String, Error> {
    let entry = fs::metadata(program).map_err(Error::file("could not look at", program))?;
    let facts = format!("{}:{}:{}:{}", program.display(), entry.size(), entry.mtime(), entry.mtime_nsec());
    Ok(secrets::derive_digest(facts.as_bytes())[..16].to_owned())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir(to).map_err(Error::file("could not make the folder", to))?;
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(to, mode).map_err(Error::file("could not set the mode of", to))?;
    let entries = fs::read_dir(from).map_err(Error::file("could not read the folder", from))?;
    for entry in entries {
        let entry = entry.map_err(Error::file("could not read the folder", from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(Error::file("could not look at", &from))?;
        if kind.is_dir() {
            copy_tree(&from, &to)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(Error::file("could not read the link", &from))?;
            symlink(target, &to).map_err(Error::file("could not link", &to))?;
        } else if from.extension().is_none_or(|it| it != "a") {
            // Static libraries are for compilers.
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map_err(Error::file("could not copy", from))?;
    let runs = fs::metadata(from).is_ok_and(|it| it.mode() & 0o111 != 0);
    let mode = Permissions::from_mode(if runs { 0o755 } else { 0o644 });
    fs::set_permissions(to, mode).map_err(Error::file("could not set the mode of", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An installation as the npm package has it: programs, a library, and a list of links that nobody has made.
    fn installation(package: &Path) -> PathBuf {
        let native = package.join("native");
        for folder in ["bin", "lib", "share/postgresql"] {
            fs::create_dir_all(native.join(folder)).unwrap();
        }
        for program in ["postgres", "initdb"] {
            fs::write(native.join("bin").join(program), program).unwrap();
            fs::set_permissions(native.join("bin").join(program), Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(native.join("lib/libpq.so.5.18"), "library").unwrap();
        fs::write(native.join("lib/libpq.a"), "for compilers").unwrap();
        let links = r#"[{"source": "native/lib/libpq.so.5.18", "target": "native/lib/libpq.so.5"},
            {"source": "../../etc/passwd", "target": "../outside"}]"#;
        fs::write(native.join("pg-symlinks.json"), links).unwrap();
        native.join("bin")
    }

    #[test]
    fn missing_links_are_made_in_a_copy_that_is_made_once() {
        let (package, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bin = installation(package.path());
        let copy = usable_postgres(&bin, None, temp.path()).unwrap();
        assert!(copy.starts_with(temp.path()));
        assert_eq!(fs::read_to_string(copy.join("../lib/libpq.so.5")).unwrap(), "library");
        assert_eq!(fs::metadata(copy.join("postgres")).unwrap().mode() & 0o777, 0o755);
        assert!(!copy.join("../lib/libpq.a").exists());
        assert!(!bin.join("../lib/libpq.so.5").exists(), "the original is left alone");
        assert_eq!(usable_postgres(&bin, None, temp.path()).unwrap(), copy);
        let entries = fs::read_dir(copy.join("../..")).unwrap().count();
        assert_eq!(entries, 1, "nothing half-made is left");
    }

    #[test]
    fn a_complete_installation_is_used_where_it_is() {
        let (package, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bin = installation(package.path());
        fs::remove_file(bin.join("../pg-symlinks.json")).unwrap();
        assert_eq!(usable_postgres(&bin, None, temp.path()).unwrap(), bin);
        // The folder is private, so somebody else needs a copy.
        let other = RunAs { name: "other".to_owned(), uid: 4242, gid: 4242 };
        let copy = usable_postgres(&bin, Some(&other), temp.path()).unwrap();
        assert!(copy.starts_with(temp.path()));
        let program = usable_program(&bin.join("initdb"), Some(&other), temp.path()).unwrap();
        assert_eq!(fs::read_to_string(program).unwrap(), "initdb");
    }

    #[test]
    fn a_changed_program_is_copied_anew() {
        let (package, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bin = installation(package.path());
        let first = usable_postgres(&bin, None, temp.path()).unwrap();
        fs::write(bin.join("postgres"), "a newer postgres").unwrap();
        let second = usable_postgres(&bin, None, temp.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_to_string(second.join("postgres")).unwrap(), "a newer postgres");
    }
}

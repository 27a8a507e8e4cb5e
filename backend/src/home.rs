//! The folder of one backend: the cluster, its password, the logs and a lock. Temporary ones go away at stop, and those
//! that a killed run left behind at the next start; a `--data` folder stays. It does not know what is in a cluster.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::process::wait_blocking;
use crate::run_as::{RunAs, hand_over, temp_root};
use crate::{Error, clock, leftover, secrets};

const PREFIX: &str = "marea-backend-";
const LOCK: &str = "lock";
const CLUSTER: &str = "postgres";
/// A temporary folder without a lock is being made right now, unless it is older than this.
const MAKING_BOUND_SECONDS: u64 = 600;
/// How long the removal of a temporary folder is tried.
const REMOVAL_BOUND: Duration = Duration::from_secs(1);

/// One backend's folder, locked for as long as this value lives.
pub(crate) struct Home {
    root: PathBuf,
    temporary: bool,
    lock: File,
}

impl Home {
    /// A fresh folder that goes away with this value. Removes what killed runs left first.
    pub(crate) fn temporary(run_as: Option<&RunAs>) -> Result<Home, Error> {
        let parent = temp_root(run_as);
        remove_stale(&parent);
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent);
        let root = made.map_err(Error::file("could not make a folder in", &parent))?.keep();
        // Under its real name the lock is never seen unlocked: another start would take the folder for a dead one's.
        let home = Home::lock(root, "lock.making", true)?;
        let (made, place) = (home.root.join("lock.making"), home.root.join(LOCK));
        fs::rename(made, &place).map_err(Error::file("could not make", place))?;
        let_pass(&home.root)?;
        Ok(home)
    }

    /// The folder `root`, made if need be, kept at stop.
    pub(crate) fn at(root: &Path, run_as: Option<&RunAs>) -> Result<Home, Error> {
        if !root.exists() {
            fs::create_dir_all(root).map_err(Error::file("could not make the folder", root))?;
            let_pass(root)?;
        }
        let root = root.canonicalize().map_err(Error::file("could not open the folder", root))?;
        let home = Home::lock(root, LOCK, false)?;
        match run_as {
            Some(user) if !user.can_use(&home.root, 1) => {
                Err(Error::Unreachable { user: user.name.clone(), path: home.root.clone() })
            }
            _ => Ok(home),
        }
    }

    fn lock(root: PathBuf, name: &str, temporary: bool) -> Result<Home, Error> {
        let path = root.join(name);
        let lock = File::create(&path).map_err(Error::file("could not write", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Home { root, temporary, lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: root }),
            Err(TryLockError::Error(source)) => Err(Error::File { doing: "could not lock", path, source }),
        }
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cluster's folder.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.join(CLUSTER)
    }

    /// A path for a short-lived or log file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The superuser's password, made at the first call, readable only by whom this process belongs to.
    pub(crate) fn superuser_password(&self) -> Result<String, Error> {
        let path = self.file("superuser-password");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("could not read", path)(error)),
        }
        let password = secrets::make_secret()?;
        write_private(&path, &password)?;
        Ok(password)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.temporary {
            // A grandchild that has just been killed may still be making files.
            wait_blocking(REMOVAL_BOUND, || fs::remove_dir_all(&self.root).is_ok() || !self.root.exists());
        }
        // Closing the file would not do: a child that another thread is just starting has it open, too, until it runs.
        let _ = self.lock.unlock();
    }
}

/// Others may pass through (Postgres may be another user), but not list; every file inside has a mode of its own. Only for
/// folders that we made: the mode of somebody's folder is theirs.
fn let_pass(folder: &Path) -> Result<(), Error> {
    let passable = Permissions::from_mode(0o711);
    fs::set_permissions(folder, passable).map_err(Error::file("could not set the mode of", folder))
}

/// Writes a file that only its owner can read, from its first moment on.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(Error::file("could not write", path))
}

/// Removes the temporary folders of runs that are dead, with the servers that may still run on them.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir() && it.uid() == geteuid().as_raw());
        if !ours {
            continue;
        }
        match File::open(path.join(LOCK)) {
            Ok(lock) => {
                // A living backend holds the lock; a dead one's went with it.
                if lock.try_lock().is_ok() {
                    leftover::stop_leftover(&path.join(CLUSTER));
                    let _ = fs::remove_dir_all(&path);
                }
            }
            Err(_) if age_seconds(&path) > MAKING_BOUND_SECONDS => {
                let _ = fs::remove_dir_all(&path);
            }
            Err(_) => {}
        }
    }
}

fn age_seconds(path: &Path) -> u64 {
    fs::metadata(path).and_then(|it| it.modified()).map(clock::seconds_since).unwrap_or(0)
}

/// Makes an empty folder that only `run_as` (or we) can enter.
pub(crate) fn make_private_folder(path: &Path, run_as: Option<&RunAs>) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::file("could not clear", path))?;
    }
    fs::create_dir(path).map_err(Error::file("could not make the folder", path))?;
    let private = Permissions::from_mode(0o700);
    fs::set_permissions(path, private).map_err(Error::file("could not set the mode of", path))?;
    hand_over(path, run_as)
}

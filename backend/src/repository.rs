//! Where the repository is: its SQL files and its `node_modules`. It looks at run time, because a build directory may be
//! carried to another clone, and a path from compile time would then point into the wrong one.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

const FIXTURE: &str = "tests/fixtures/app.sql";
const STORAGE: &str = "tests/fixtures/storage.sql";
const REALTIME: &str = "tests/fixtures/realtime.sql";
const MIGRATIONS: &str = "migrations";

/// Every folder that may hold something of the repository, likeliest first: where Cargo runs this program (it says so in
/// the environment), the current folder, where it was built; and all folders above each.
pub(crate) fn folders() -> Vec<PathBuf> {
    let running = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let starts = running.into_iter().chain(env::current_dir()).chain([built]);
    let above = |start: PathBuf| start.ancestors().map(Path::to_owned).collect::<Vec<_>>();
    starts.flat_map(above).collect()
}

/// The SQL of the repository.
pub(crate) struct Sql {
    root: PathBuf,
}

impl Sql {
    pub(crate) fn find() -> Result<Sql, Error> {
        let is_root = |folder: &PathBuf| folder.join(FIXTURE).is_file() && folder.join(MIGRATIONS).is_dir();
        let root = folders().into_iter().find(is_root).ok_or(Error::NoRepository)?;
        Ok(Sql { root })
    }

    /// The app that Marea is added to.
    pub(crate) fn fixture(&self) -> PathBuf {
        self.root.join(FIXTURE)
    }

    /// The schema `storage`, which Supabase has.
    pub(crate) fn storage(&self) -> PathBuf {
        self.root.join(STORAGE)
    }

    /// The schema `realtime`, likewise.
    pub(crate) fn realtime(&self) -> PathBuf {
        self.root.join(REALTIME)
    }

    /// What makes an app's users on each of several pairs.
    pub(crate) fn users_of_pairs(&self) -> PathBuf {
        self.root.join("examples/pairs/users.sql")
    }

    /// The folder of the numbered files.
    pub(crate) fn migrations(&self) -> PathBuf {
        self.root.join(MIGRATIONS)
    }
}

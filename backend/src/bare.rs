//! A Postgres with nothing in front of it, on a data folder that a backend made or on a copy of one. No migration is applied to it, so it
//! may be a standby.

use std::path::Path;

use crate::Error;
use crate::binaries::find_postgres;
use crate::home::Home;
use crate::postgres::Postgres;
use crate::run_as::RunAs;

/// A running server. Dropping it stops it too, but blocks.
// Dropped in this order: the server, then the lock of its folder.
pub struct BarePostgres {
    postgres: Postgres,
    _home: Home,
}

impl BarePostgres {
    /// Starts it, with the settings of every backend's Postgres; returns when it takes connections. `postgres_bin` is the folder of its
    /// programs; `None` to look for it.
    ///
    /// # Errors
    /// As [`crate::Backend::start`].
    pub async fn start(data: &Path, postgres_bin: Option<&Path>) -> Result<BarePostgres, Error> {
        let run_as = RunAs::find()?;
        let bin = find_postgres(postgres_bin, run_as.as_ref())?;
        let home = Home::at(data, run_as.as_ref())?;
        let postgres = Postgres::start(&bin, &home, run_as.as_ref()).await?;
        Ok(BarePostgres { postgres, _home: home })
    }

    /// The superuser's way into it.
    pub fn url(&self) -> &str {
        self.postgres.url()
    }

    /// Stops it as an administrator does; the folder stays.
    pub async fn stop(self) {
        self.postgres.stop().await;
    }
}

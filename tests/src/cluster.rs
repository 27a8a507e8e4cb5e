//! Databases of a test's own, migrated as far as the test wants, and `psql`, as whoever runs a Postgres uses it. It reads
//! `migrations/` at run time and knows none of the files by name, only by number.

use std::fs;
use std::path::{Path, PathBuf};

use marea_backend::{Backend, Options};
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

use crate::backend::patient;
use crate::sql_mutation;

/// The programs of a Postgres from Debian that has an extension; npm's has none.
///
/// # Panics
/// Where there is none.
pub fn debians_with(extension: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/share/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter(|version| version.path().join(format!("extension/{extension}.control")).is_file())
        .max_by_key(|version| version.file_name());
    let version = newest.unwrap_or_else(|| panic!("{extension} is not installed: cargo xtask setup"));
    PathBuf::from("/usr/lib/postgresql").join(version.file_name()).join("bin")
}

/// A private server, for a test alone.
pub struct Cluster {
    backend: Backend,
}

/// A database of that server.
pub struct Database {
    /// The superuser's way into it.
    pub url: String,
    /// The superuser's connection.
    pub client: Client,
}

/// A `psql` that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 3 is an SQL error under `ON_ERROR_STOP`.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// Notices and errors.
    pub stderr: String,
}

impl Cluster {
    /// Starts one of the usual Postgres.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Cluster {
        Cluster::of(Options::default()).await
    }

    /// Starts one of the Postgres programs in a folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn of_programs(postgres_bin: PathBuf) -> Cluster {
        Cluster::of(Options { postgres_bin: Some(postgres_bin), ..Options::default() }).await
    }

    async fn of(options: Options) -> Cluster {
        Cluster { backend: Backend::start(patient(options)).await.expect("the backend starts") }
    }

    /// The backend in front of it; its own database is migrated already.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// A new database with the fixture app and the migrations up to this number; 0 for the app alone.
    ///
    /// # Panics
    /// When a migration does not apply.
    pub async fn database(&self, name: &str, up_to: u32) -> Database {
        let database = self.empty_database(name).await;
        let fixture = root().join("tests/fixtures/app.sql");
        database.file(&fixture).await.succeeds();
        for file in migrations().into_iter().filter(|(number, _)| *number <= up_to).map(|(_, file)| file) {
            database.file(&file).await.succeeds();
        }
        if migrations().last().is_some_and(|(newest, _)| *newest <= up_to) {
            sql_mutation::make_asked(&database.client).await;
        }
        database
    }

    /// A new database with nothing in it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn empty_database(&self, name: &str) -> Database {
        let main = connect(&self.backend.ready().database_url).await;
        main.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        let (server, _) = self.backend.ready().database_url.rsplit_once('/').expect("a path in the URL");
        let url = format!("{server}/{name}");
        Database { client: connect(&url).await, url }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.backend.stop().await;
    }
}

impl Database {
    /// Runs a file with `psql -v ON_ERROR_STOP=1 -f`.
    pub async fn file(&self, path: &Path) -> Ran {
        self.psql(&["-q", "-f", &path.display().to_string()]).await
    }

    /// Runs the one file in `migrations/` of this name.
    pub async fn migration(&self, name: &str) -> Ran {
        self.file(&root().join("migrations").join(name)).await
    }

    /// Runs statements, each in a transaction of its own.
    pub async fn sql(&self, statements: &[&str]) -> Ran {
        let words: Vec<&str> = statements.iter().flat_map(|one| ["-c", *one]).collect();
        self.psql(&[&["-q", "-A", "-t"], words.as_slice()].concat()).await
    }

    async fn psql(&self, words: &[&str]) -> Ran {
        let output = Command::new("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &self.url])
            .args(words)
            .env("PGOPTIONS", "-c client_min_messages=notice")
            .output()
            .await
            .expect("psql is on PATH");
        let text = |bytes| String::from_utf8(bytes).expect("psql writes UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The first column of the only row of a query, as text.
    ///
    /// # Panics
    /// When there is not one row.
    pub async fn text(&self, query: &str) -> String {
        let wrapped = format!("SELECT ({query})::text");
        let row =
            self.client.query_one(&wrapped, &[]).await.unwrap_or_else(|error| panic!("{error:?} in {query}"));
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Carries out SQL on the superuser's connection.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn execute(&self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql).await {
            panic!("{error:?} in {sql}");
        }
    }

    /// Another connection of the superuser.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Ran {
    /// Fails the test, with all that was written, unless `psql` succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Fails the test unless it stopped at an SQL error that says this.
    #[track_caller]
    pub fn fails_with(self, words: &str) -> Ran {
        // 3 with -f, 1 with -c.
        assert!(matches!(self.code, Some(1 | 3)), "{self:#?}");
        assert!(self.stderr.contains(words), "not {words:?} in {self:#?}");
        self
    }
}

/// The forward migrations, by number.
///
/// # Panics
/// When the folder cannot be read.
pub fn migrations() -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(root().join("migrations")).expect("the folder of migrations");
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let (number, _) = name.split_once('_')?;
            let is_forward = name.ends_with(".sql") && !name.ends_with("_rollback.sql") && number.len() == 3;
            is_forward.then(|| Some((number.parse().ok()?, path.clone())))?
        })
        .collect();
    found.sort();
    found
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres answers");
    // It ends with the client; the queries report what went wrong.
    tokio::spawn(connection);
    client
}

//! Connections, and the SQL files that are applied at start: the fixture app, then the migrations, each once. It holds no
//! schema of its own beyond `sql/*.sql`.
//!
//! The files are read from the repository when the backend starts, so that a change to one needs no new build.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_postgres::{Client, NoTls};

use crate::repository::Sql;
use crate::{Error, secrets};

/// What docs/migrations/DEPLOY.md recommends.
const STATEMENT_TIMEOUT_S: u32 = 8;

/// The bounds of requests in a database of our own; a role of somebody's server keeps what it has.
pub(crate) fn bounds(statement_timeout_s: Option<u32>) -> String {
    let seconds = statement_timeout_s.unwrap_or(STATEMENT_TIMEOUT_S);
    format!(
        "ALTER ROLE authenticator SET statement_timeout = '{seconds}s';
         ALTER ROLE authenticator SET lock_timeout = '5s';
         DO $$ BEGIN
             ALTER ROLE authenticator SET client_connection_check_interval = '5s';
         EXCEPTION WHEN invalid_parameter_value THEN
             NULL; -- not every system tells that a client has gone
         END $$;"
    )
}

/// Two backends on one database must not migrate it at the same time. The number only has to be nobody else's.
const MIGRATION_LOCK: i64 = 0x6d61_7265_6101;

/// Connects. The connection lives until the client is dropped.
pub(crate) async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(Error::postgres("could not connect"))?;
    tokio::spawn(async move {
        // An error here also reaches whoever uses the client.
        let _ = connection.await;
    });
    Ok(client)
}

/// Whether the server takes connections by now.
pub(crate) async fn answers(url: &str) -> bool {
    match connect(url).await {
        Ok(client) => client.simple_query("SELECT 1").await.is_ok(),
        Err(_) => false,
    }
}

/// Applies whatever this database lacks, then the app's own files. `say` hears what is done. A database of our own gets schema
/// `realtime` too.
pub(crate) async fn prepare(
    client: &Client,
    is_own: bool,
    own: &[PathBuf],
    say: fn(&str),
) -> Result<(), Error> {
    let locked = client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await;
    locked.map_err(Error::postgres("could not lock the migrations"))?;
    let done = apply_all(client, is_own, own, say).await;
    // What failed leaves its transaction open, and says more than a lock that cannot be let go. The connection's end lets it go.
    done?;
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await;
    unlocked.map(|_| ()).map_err(Error::postgres("could not unlock the migrations"))
}

async fn apply_all(client: &Client, is_own: bool, own: &[PathBuf], say: fn(&str)) -> Result<(), Error> {
    let sql = Sql::find()?;
    run(client, "backend.sql", include_str!("../sql/backend.sql")).await?;
    let found = client.query_one("SELECT to_regclass('public.users') IS NOT NULL", &[]).await;
    let has_app: bool = found.map_err(Error::postgres("could not look for public.users"))?.get(0);
    if !has_app {
        say("no table public.users: adding the fixture app");
        run(client, "app.sql", &read(&sql.fixture())?).await?;
    }
    let found = client.query_one("SELECT to_regclass('storage.objects') IS NOT NULL", &[]).await;
    let has_storage: bool = found.map_err(Error::postgres("could not look for storage.objects"))?.get(0);
    if !has_storage {
        run(client, "storage.sql", &read(&sql.storage())?).await?;
    }
    if is_own {
        run(client, "realtime.sql", &read(&sql.realtime())?).await?;
    }
    for file in migrations(&sql.migrations())? {
        apply_once(client, &file).await?;
    }
    run(client, "accounts.sql", include_str!("../sql/accounts.sql")).await?;
    for file in own {
        run(client, &file.display().to_string(), &read(file)?).await?;
    }
    Ok(())
}

async fn apply_once(client: &Client, file: &Path) -> Result<(), Error> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read(file)?;
    let digest = secrets::derive_digest(text.as_bytes());
    let applied = client
        .query_opt("SELECT digest FROM marea_backend.applied_files WHERE name = $1", &[&name])
        .await
        .map_err(Error::postgres("could not read the applied migrations"))?;
    match applied.map(|row| row.get::<_, String>(0)) {
        Some(known) if known == digest => Ok(()),
        Some(_) => Err(Error::ChangedMigration { file: name }),
        None => {
            // One text is one transaction, unless the file brings its own: the file and the note of it stand or fall
            // together. Neither the name nor the digest can hold a quote.
            let note = format!("INSERT INTO marea_backend.applied_files VALUES ('{name}', '{digest}')");
            match after_commit(&text) {
                // A procedure that commits must be the one statement of its text. Should this end in between, the file is
                // applied once more, which changes nothing.
                Some((inside, alone)) => {
                    for part in [inside, alone, &note] {
                        run(client, &name, part).await?;
                    }
                }
                None => run(client, &name, &format!("{text}\n;{note};")).await?,
            }
            // Only an open transaction still has a number here; what follows would be lost with it at the end.
            let open = client.query_one("SELECT pg_current_xact_id_if_assigned() IS NOT NULL", &[]).await;
            match open.map_err(Error::postgres("could not look for an open transaction"))?.get(0) {
                true => Err(Error::OpenMigration { file: name }),
                false => Ok(()),
            }
        }
    }
}

/// What a file does inside its transaction, and the statement that follows its COMMIT, where there is one.
fn after_commit(text: &str) -> Option<(&str, &str)> {
    const COMMIT: &str = "\nCOMMIT;\n";
    let at = text.rfind(COMMIT)? + COMMIT.len();
    let (inside, alone) = text.split_at(at);
    let is_statement = |line: &str| !line.trim().is_empty() && !line.starts_with("--");
    alone.lines().any(is_statement).then_some((inside, alone))
}

async fn run(client: &Client, name: &str, text: &str) -> Result<(), Error> {
    client.batch_execute(text).await.map_err(Error::postgres(format!("could not apply {name}")))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file("could not read", path))
}

/// The files to apply, by number.
fn migrations(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("could not read the folder", folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_migration));
    files.sort();
    Ok(files)
}

/// `NNN_words.sql`, but not the script that takes one back.
fn is_migration(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".sql") else { return false };
    let plain = stem.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    let numbered = stem.len() > 4 && stem[..4.min(stem.len())].ends_with('_');
    plain && numbered && stem[..3].chars().all(|it| it.is_ascii_digit()) && !stem.ends_with("_rollback")
}

/// Switches wake-ups on or off.
pub(crate) async fn set_wakeups(client: &Client, wanted: bool) -> Result<(), Error> {
    let switched = client.execute("SELECT marea.set_wakeups($1)", &[&wanted]).await;
    switched.map(|_| ()).map_err(Error::postgres("could not switch wake-ups"))
}

/// A setting that is made once and then kept in the database.
pub(crate) async fn setting(client: &Client, name: &str) -> Result<String, Error> {
    let made = secrets::make_secret()?;
    let statement = "INSERT INTO marea_backend.settings VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute(statement, &[&name, &made]).await.map_err(Error::postgres("could not keep a setting"))?;
    let statement = "SELECT value FROM marea_backend.settings WHERE name = $1";
    let row = client.query_one(statement, &[&name]).await;
    Ok(row.map_err(Error::postgres("could not read a setting"))?.get(0))
}

/// Keeps a setting that comes from elsewhere.
pub(crate) async fn keep_setting(client: &Client, name: &str, value: &str) -> Result<(), Error> {
    let statement = "INSERT INTO marea_backend.settings VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value";
    let kept = client.execute(statement, &[&name, &value]).await;
    kept.map(drop).map_err(Error::postgres("could not keep a setting"))
}

/// Makes the role that PostgREST logs in as usable, and gives the URL for it.
///
/// In a cluster of our own that is `authenticator`. On somebody's server that role belongs to the PostgREST that is already
/// there, and its password is not ours to change: ours gets a role of its own. `bounds`: those of requests, in a cluster of our own.
pub(crate) async fn authenticator_url(
    client: &Client,
    url: &str,
    bounds: Option<&str>,
) -> Result<String, Error> {
    // Roles belong to the whole cluster, this password to one database.
    let number =
        client.query_one("SELECT oid FROM pg_database WHERE datname = current_database()", &[]).await;
    let number: u32 = number.map_err(Error::postgres("could not look at the database"))?.get(0);
    let role =
        if bounds.is_some() { "authenticator".to_owned() } else { format!("marea_backend_login_{number}") };
    let password = setting(client, "authenticator_password").await?;
    let statement = format!(
        "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOINHERIT; END IF;
         END $$;
         ALTER ROLE {role} LOGIN PASSWORD '{password}';
         GRANT anon, authenticated, service_role TO {role};"
    );
    run(client, "the login role of PostgREST", &statement).await?;
    if let Some(bounds) = bounds {
        run(client, "the bounds of requests", bounds).await?;
    }
    let mut login = reqwest::Url::parse(url).map_err(|_| Error::DatabaseUrl)?;
    let named = login.set_username(&role).and_then(|()| login.set_password(Some(&password)));
    named.map_err(|()| Error::DatabaseUrl)?;
    Ok(login.into())
}

#[cfg(test)]
mod tests {
    use super::is_migration;

    #[test]
    fn only_numbered_forward_files_are_migrations() {
        for (name, expected) in [
            ("001_add_missing_tables.sql", true),
            ("002_sync_layer.sql", true),
            ("001_add_missing_tables_rollback.sql", false),
            ("validate_001.sql", false),
            ("README.md", false),
            ("1_short.sql", false),
            ("0001_long.sql", false),
            ("001_with space.sql", false),
            ("ümlaut.sql", false),
            (".sql", false),
        ] {
            assert_eq!(is_migration(name), expected, "{name}");
        }
    }
}

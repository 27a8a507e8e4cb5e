//! Real Postgres servers that take over from one another: a primary, standbys that stream from it, cut off, promoted, killed. Standbys are
//! made of a base backup by SQL and a copy of the files, so that no program is needed that does not come with the server. It knows nothing
//! of Marea but that the first primary has its schema.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Weak};

use marea_backend::{BarePostgres, Options};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::backend::{TestBackend, connect};
use crate::wait;

/// Settings of every server: the WAL of a test stays there for its standbys, whoever looks for it looks again soon, what a crash is to
/// lose fits into memory, and nobody commits but the test. A standby keeps no reader for whom it would have to wait.
const SETTINGS: &str = "
wal_keep_size = '64MB'
wal_buffers = '16MB'
wal_retrieve_retry_interval = '50ms'
autovacuum = off
max_standby_streaming_delay = 0
fsync = off
";

/// The folders of one test's servers.
pub struct Servers {
    folder: TempDir,
    template: Arc<TempDir>,
}

/// A server that runs.
// Dropped in this order: Postgres waits for all its processes when it stops.
pub struct Server {
    halted: Option<Halted>,
    data: PathBuf,
    postgres: BarePostgres,
}

/// A process that is halted for as long as this value lives: else a test that fails would leave it behind for ever.
struct Halted(String);

impl Drop for Halted {
    fn drop(&mut self) {
        signal("CONT", &[&*self.0]);
    }
}

impl Servers {
    /// None runs yet.
    ///
    /// # Panics
    /// When there is no room.
    pub async fn new() -> Servers {
        Servers { folder: open_folder(), template: template().await }
    }

    /// A new server with the schema, not a standby of any.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn primary(&self, name: &str) -> Server {
        let data = self.folder.path().join(name);
        copy_folder(self.template.path(), &data, &|_| true).expect("a copy of the template");
        Server::start(data).await
    }

    /// A new standby of `primary`, which follows it from now on.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn standby(&self, name: &str, primary: &Server) -> Server {
        let data = self.folder.path().join(name);
        primary.back_up(&data).await;
        let url = &primary.url();
        let settings = data.join("postgres/postgresql.auto.conf");
        let before = fs::read_to_string(&settings).expect("settings");
        fs::write(&settings, format!("{before}primary_conninfo = '{url}'\n")).expect("settings");
        write_for_server(&data, "standby.signal", "");
        let standby = Server::start(data).await;
        standby.catch_up_with(primary).await;
        standby
    }
}

impl Server {
    /// Starts what was stopped, killed or copied.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(data: PathBuf) -> Server {
        let postgres = BarePostgres::start(&data, None).await.expect("Postgres starts");
        Server { halted: None, data, postgres }
    }

    /// The superuser's way into it.
    pub fn url(&self) -> &str {
        self.postgres.url()
    }

    /// A connection of the superuser.
    pub async fn sql(&self) -> Client {
        connect(self.url()).await
    }

    /// The first column of the only row of a query, as text.
    ///
    /// # Panics
    /// When there is not one row.
    pub async fn text(&self, query: &str) -> String {
        let row = self.sql().await.query_one(&format!("SELECT ({query})::text"), &[]).await;
        row.unwrap_or_else(|error| panic!("{error:?} in {query}"))
            .get::<_, Option<String>>(0)
            .unwrap_or_default()
    }

    /// Carries out statements, each in a transaction of its own.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn execute(&self, statements: &[&str]) {
        let client = self.sql().await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{error:?} in {statement}"));
        }
    }

    /// Its timeline, as the names of its WAL have it.
    pub async fn timeline(&self) -> String {
        self.text("substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)").await
    }

    /// Waits until this standby shows all that `primary` has committed.
    pub async fn catch_up_with(&self, primary: &Server) {
        let end = primary.text("pg_current_wal_flush_lsn()").await;
        self.until("the standby has caught up", &format!("pg_last_wal_replay_lsn() >= '{end}'")).await;
    }

    /// Takes this standby off its primary: from now on it lags, by whatever is written there.
    pub async fn cut_off(&self) {
        self.execute(&["ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"]).await;
        let cut = "NOT EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()";
        self.until("the standby is cut off", cut).await;
    }

    /// Makes a primary of this standby.
    pub async fn promote(&self) {
        assert_eq!(self.text("pg_promote()").await, "true");
        self.until("the standby is promoted", "NOT pg_is_in_recovery()").await;
    }

    /// From now on commits are acknowledged and held in memory only, as any may be for a moment under `synchronous_commit = off`: all
    /// before them is on disk, and the process that would take them there is halted.
    pub async fn hold_commits(&mut self) {
        self.execute(&["ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()"]).await;
        self.until("commits wait for nothing", "current_setting('synchronous_commit') = 'off'").await;
        let writer = self.walwriter().await;
        assert!(signal("STOP", &[&*writer]));
        self.halted = Some(Halted(writer));
        self.execute(&["CHECKPOINT"]).await;
    }

    /// The WAL writer dies, and Postgres takes all its processes along and recovers from what is on disk: the crash of a server that is
    /// still the same one by its start.
    pub async fn crash(&mut self) {
        crash(self.url()).await;
        self.halted = None;
    }

    /// Stops it as an administrator does; gives its data folder.
    pub async fn stop(self) -> PathBuf {
        self.postgres.stop().await;
        self.data
    }

    /// All its processes die at once; gives its data folder.
    ///
    /// # Panics
    /// When they do not.
    pub async fn kill(self) -> PathBuf {
        let pid_file = fs::read_to_string(self.data.join("postgres/postmaster.pid")).expect("a pid file");
        let postmaster = pid_file.lines().next().expect("a pid").trim().to_owned();
        let children = self.text("SELECT string_agg(pid::text, ' ') FROM pg_stat_activity").await;
        let pids: Vec<&str> = std::iter::once(&*postmaster).chain(children.split(' ')).collect();
        // Some connection may have ended by now.
        signal("KILL", &pids);
        drop(self.halted);
        self.postgres.stop().await;
        // The memory that they share is free when the last one is gone.
        wait::until("all of Postgres is gone", || async {
            let left = Command::new("ps").args(["-o", "stat=", "-p", &pids.join(",")]).output().expect("ps");
            String::from_utf8_lossy(&left.stdout).lines().all(|state| state.starts_with('Z'))
        })
        .await;
        self.data
    }

    /// Waits until an SQL condition holds.
    pub async fn until(&self, what: &str, condition: &str) {
        let client = self.sql().await;
        let query = format!("SELECT coalesce({condition}, false)");
        wait::until(what, || async {
            client.query_one(&query, &[]).await.unwrap_or_else(|error| panic!("{error:?} in {query}")).get(0)
        })
        .await;
    }

    async fn walwriter(&self) -> String {
        walwriter(self.url()).await.expect("a WAL writer")
    }

    /// A base backup, as `pg_basebackup` makes one, without the WAL: the standby gets that from its primary.
    async fn back_up(&self, data: &Path) {
        let client = self.sql().await;
        client.batch_execute("SELECT pg_backup_start('standby', true)").await.expect("a backup");
        // What runs on `data` is another server: its processes, its WAL.
        let belongs = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let inside_wal = path.parent().is_some_and(|parent| parent.ends_with("pg_wal"));
            !name.starts_with("postmaster.") && (!inside_wal || name.ends_with(".history"))
        };
        copy_folder(&self.data, data, &belongs).expect("a copy");
        let stopped = client.query_one("SELECT labelfile FROM pg_backup_stop(false)", &[]).await;
        let label: String = stopped.expect("the end of the backup").get(0);
        write_for_server(data, "backup_label", &label);
    }
}

/// [`Server::crash`] of any server.
///
/// # Panics
/// When it does not recover.
pub async fn crash(url: &str) {
    let writer = walwriter(url).await.expect("a WAL writer");
    assert!(signal("KILL", &[&*writer]));
    let is_another = |now: String| now != writer;
    wait::until("Postgres has recovered", || async { walwriter(url).await.is_some_and(is_another) }).await;
}

/// The process that writes the WAL, while there is one.
async fn walwriter(url: &str) -> Option<String> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.ok()?;
    tokio::spawn(connection);
    let query = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    Some(client.query_opt(query, &[]).await.ok()??.get(0))
}

/// A folder for data folders: Postgres may run as another user, who must get into it.
///
/// # Panics
/// When there is no room.
pub fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
    folder
}

/// The data folder of a stopped backend, shared by the tests of this process; it goes with the last of them.
async fn template() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(made) = shared.upgrade() {
        return made;
    }
    let folder = open_folder();
    let data = Some(folder.path().to_owned());
    TestBackend::start_with(Options { data, ..Options::default() }).await.stop().await;
    let settings = folder.path().join("postgres/postgresql.auto.conf");
    let before = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, before + SETTINGS).expect("settings");
    let made = Arc::new(folder);
    *shared = Arc::downgrade(&made);
    made
}

/// Copies what `belongs`, each thing with its owner and mode. What goes meanwhile was not needed.
fn copy_folder(from: &Path, to: &Path, belongs: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if !belongs(&source) {
            continue;
        }
        let copied = match entry.file_type()?.is_dir() {
            true => copy_folder(&source, &target, belongs),
            false => fs::copy(&source, &target).and_then(|_| own_as(&source, &target)),
        };
        match copied {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    own_as(from, to)
}

/// A file of a cluster, which belongs to whom the rest belongs.
fn write_for_server(data: &Path, name: &str, text: &str) {
    let (cluster, file) = (data.join("postgres"), data.join("postgres").join(name));
    fs::write(&file, text).and_then(|()| own_as(&cluster.join("PG_VERSION"), &file)).expect("a file");
}

fn own_as(source: &Path, target: &Path) -> io::Result<()> {
    let metadata = fs::metadata(source)?;
    fs::set_permissions(target, metadata.permissions())?;
    chown(target, Some(metadata.uid()), Some(metadata.gid()))
}

/// Whether all of them were there.
fn signal(name: &str, pids: &[&str]) -> bool {
    let done = Command::new("kill").arg(format!("-{name}")).args(pids).output().expect("kill");
    done.status.success()
}

//! A private Postgres: makes the cluster, starts the server on a free loopback port, stops it. What is inside the database
//! is `database.rs`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::home::{Home, make_private_folder, write_private};
use crate::process::{self, POLL, Service, command};
use crate::run_as::{RunAs, hand_over};
use crate::{Error, database, leftover};

/// Another process may take the free port between our look and the server's.
const ATTEMPTS: usize = 5;
/// A cluster that was killed under load replays its log first.
const START_BOUND: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Postgres {
    service: Service,
    url: String,
}

impl Postgres {
    /// Starts the cluster of `home`, making it when it is not there.
    pub(crate) async fn start(bin: &Path, home: &Home, run_as: Option<&RunAs>) -> Result<Postgres, Error> {
        let password = home.superuser_password()?;
        if !home.cluster().join("PG_VERSION").exists() {
            make_cluster(bin, home, run_as, &password).await?;
        }
        leftover::stop_leftover(&home.cluster());
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
            match serve(bin, home, run_as, port, &url).await {
                Ok(service) => return Ok(Postgres { service, url }),
                Err(error) if attempt == ATTEMPTS || !may_pass(&error) => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// How to connect as the superuser.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn stop(self) {
        self.service.stop().await;
    }

    pub(crate) async fn kill(self) {
        self.service.kill().await;
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16, Error> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(bound.map_err(|source| Error::PortTaken { port: 0, source })?.port())
}

/// Whether a failed start is worth another try: the port was taken, or children of a killed server are still leaving.
fn may_pass(error: &Error) -> bool {
    let Error::NotStarted { log_tail, .. } = error else { return false };
    ["could not bind", "could not create any TCP/IP sockets", "pre-existing shared memory"]
        .iter()
        .any(|sign| log_tail.contains(sign))
}

/// Makes the cluster beside its place and moves it there when it is whole: a run killed in between leaves no half of one.
async fn make_cluster(bin: &Path, home: &Home, run_as: Option<&RunAs>, password: &str) -> Result<(), Error> {
    let making = home.file("postgres.making");
    make_private_folder(&making, run_as)?;
    let password_file = home.file("password.making");
    write_private(&password_file, password)?;
    hand_over(&password_file, run_as)?;

    let mut initdb = command(&bin.join("initdb"), run_as);
    initdb.arg("--pgdata").arg(&making).arg("--pwfile").arg(&password_file);
    // No --sync: a machine that loses power during the first second may start over.
    initdb.args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    let mut running = Service::start(initdb, Signal::SIGKILL, &home.file("initdb.log"))?;
    let status = running.wait(START_BOUND).await;
    let removed = fs::remove_file(&password_file);
    removed.map_err(Error::file("could not remove", password_file))?;
    match status {
        Some(status) if status.success() => {}
        _ => return Err(not_started("initdb", status, &running)),
    }
    let cluster = home.cluster();
    if cluster.exists() {
        // Without PG_VERSION it is no cluster, and rename does not replace a folder that holds something.
        return Err(Error::WrongPlace { path: cluster, wanted: "PG_VERSION", named_by: "--data" });
    }
    fs::rename(&making, &cluster).map_err(Error::file("could not make", cluster))
}

async fn serve(
    bin: &Path,
    home: &Home,
    run_as: Option<&RunAs>,
    port: u16,
    url: &str,
) -> Result<Service, Error> {
    let mut postgres = command(&bin.join("postgres"), run_as);
    postgres.arg("-D").arg(home.cluster()).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        // Loopback with a password is all that is used; socket files would have to find a short path.
        "unix_socket_directories=",
        "max_connections=400",
        "timezone=UTC",
        // The server's own words only. A refused statement quotes learners' data, so ERROR does not go to the log.
        "log_min_messages=log",
        "log_min_error_statement=panic",
        "log_error_verbosity=terse",
    ] {
        postgres.arg("-c").arg(setting);
    }
    // Fast keeps the next start short; a folder that is about to go needs no clean end.
    let stop_signal = if home.is_temporary() { Signal::SIGQUIT } else { Signal::SIGINT };
    let mut service = Service::start(postgres, stop_signal, &home.file("postgres.log"))?;
    let ready = async {
        loop {
            if let Some(status) = service.ended() {
                return Err(not_started("Postgres", Some(status), &service));
            }
            if database::answers(url).await {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let outcome = tokio::time::timeout(START_BOUND, ready).await;
    match outcome {
        Ok(Ok(())) => Ok(service),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(not_started("Postgres", None, &service)),
    }
}

/// The error for a program that ended, or did not become ready in time.
pub(crate) fn not_started(
    program: &'static str,
    status: Option<std::process::ExitStatus>,
    service: &Service,
) -> Error {
    let reason = status.map_or("it was not ready in time".to_owned(), process::describe);
    Error::NotStarted { program, reason, log_tail: service.log_tail() }
}

//! Starts the development backend, prints one JSON line when it is ready, and stops it on Ctrl-C or SIGTERM. Everything
//! else is in the library.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use marea_backend::{Backend, Error, Options, Pairs, Ready};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Real Postgres, real PostgREST and a gateway that serves them the way Supabase does, for development.
///
/// When it is ready it prints one line of JSON to stdout: url, anon_key, publishable_key, service_key,
/// secret_key, jwt_secret, jwks_url, database_url. Accounts of a private database:
/// learner1@example.com and learner2@example.com, password marea-demo.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port of the gateway; 0 for any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Keep the database and the keys in this folder; without it they are gone when the backend stops
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    data: Option<PathBuf>,
    /// Use this Postgres (as a superuser, without TLS) in place of a private one
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Make the two demo accounts in the database of --database-url too, and take them back at the end. Everybody knows their password
    #[arg(long, requires = "database_url")]
    demo_accounts: bool,
    /// Folder with `postgres` and `initdb` (also MAREA_POSTGRES_BIN)
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Keep the bytes of objects in this bucket (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on say where it is)
    #[arg(long, value_name = "s3://BUCKET")]
    objects: Option<String>,
    /// Run this SQL after the migrations, at each start: the app's own tables, and which of them are mirrored. May be given several times
    #[arg(long, value_name = "FILE")]
    sql: Vec<PathBuf>,
    /// Whether a change wakes the user's other devices, through /realtime/v1; a database of --database-url keeps what it has
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    wakeups: bool,
    /// Seconds that a request may take in a private database
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600))]
    statement_timeout: u32,
    /// Start so many complete pairs of Postgres and PostgREST behind HAProxy, each user wholly in one (MAREA_HAPROXY names the program)
    #[arg(long, value_name = "N", conflicts_with = "database_url")]
    pairs: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marea-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // From here on a signal means: stop in order. A terminal that closes sends SIGHUP.
    let mut stop = Stop::listen()?;
    let options = Options {
        port: arguments.port,
        data: arguments.data,
        database_url: arguments.database_url,
        demo_accounts: arguments.demo_accounts,
        postgres_bin: arguments.postgres_bin,
        objects: arguments.objects,
        sql: arguments.sql,
        wakeups: arguments.wakeups,
        statement_timeout_s: Some(arguments.statement_timeout),
        ..Options::default()
    };
    let say = |words: &str| eprintln!("marea-backend: {words}");
    if let Some(count) = arguments.pairs {
        let started = tokio::select! {
            started = Pairs::start(options, count, say) => started,
            () = stop.wanted() => return Ok(()),
        };
        let pairs: Pairs = started.map_err(|error: Error| Box::new(error))?;
        announce(pairs.ready())?;
        stop.wanted().await;
        pairs.stop().await;
        return Ok(());
    }
    let started = tokio::select! {
        started = Backend::start_and_say(options, say) => started,
        // What has been started so far is dropped, and thereby stopped.
        () = stop.wanted() => return Ok(()),
    };
    let backend: Backend = started.map_err(|error: Error| Box::new(error))?;
    announce(backend.ready())?;
    stop.wanted().await;
    backend.stop().await;
    Ok(())
}

/// The one line on stdout.
fn announce(ready: &Ready) -> Result<(), Box<dyn std::error::Error>> {
    let line = serde_json::to_string(ready)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// The signals that end the program.
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn listen() -> io::Result<Stop> {
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        Ok(Stop { signals })
    }

    async fn wanted(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

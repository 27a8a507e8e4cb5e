//! The backend as a value: start the parts in order, say how to reach them, stop them. Each part is its own file; this one
//! only ties them together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::accounts::{Accounts, take_back};
use crate::binaries::{find_postgres, find_postgrest};
use crate::gateway::faults::Faults;
use crate::gateway::{Gateway, Server, Turns, Upstream};
use crate::home::Home;
use crate::postgres::Postgres;
use crate::postgrest::PostgRest;
use crate::realtime::Realtime;
use crate::router::SLOTS_MAP;
use crate::run_as::RunAs;
use crate::storage::{Bytes, Storage};
use crate::tokens::Tokens;
use crate::{Error, database};

/// What kind of backend to start. The default is a private one on free ports, gone without a trace when it stops.
#[derive(Clone, Default)]
pub struct Options {
    /// The gateway's port; 0 for any free one.
    pub port: u16,
    /// The folder to keep the cluster and the keys in; `None` for a temporary one.
    pub data: Option<PathBuf>,
    /// An existing server to use in place of a private Postgres: a superuser's URL, without TLS.
    pub database_url: Option<String>,
    /// Whether an existing server gets the two demo accounts too, whose password everybody knows, until the backend stops. A private
    /// one always has them.
    pub demo_accounts: bool,
    /// The folder of the Postgres programs; `None` to look for it.
    pub postgres_bin: Option<PathBuf>,
    /// Where the bytes of objects are kept: `s3://bucket`, with the usual `AWS_*` variables; `None` for a folder beside the cluster.
    pub objects: Option<String>,
    /// An app's own SQL, run in this order at each start, after the migrations: each file must bear to be run again.
    pub sql: Vec<PathBuf>,
    /// Whether a private database has wake-ups on: devices join `/realtime/v1` and hear of changes. An existing one keeps what it has.
    pub wakeups: bool,
    /// What tokens are signed with, where it is another backend's; `None` for one of its own.
    pub jwt_secret: Option<String>,
    /// A function that PostgREST calls before each request.
    pub pre_request: Option<String>,
    /// Seconds that a request may take in a private database; `None` for what docs/migrations/DEPLOY.md recommends.
    pub statement_timeout_s: Option<u32>,
}

/// How to reach a running backend. Serialized, it is the line that the program prints.
#[derive(Clone, Serialize)]
pub struct Ready {
    /// The gateway, without a slash at the end.
    pub url: String,
    /// The `apikey` of the app.
    pub anon_key: String,
    /// The same in the form of 2025: `sb_publishable_...`.
    pub publishable_key: String,
    /// The `apikey` of the app's own servers; also opens the fault switches.
    pub service_key: String,
    /// The same in the form of 2025: `sb_secret_...`.
    pub secret_key: String,
    /// What access tokens may be signed with (HS256). Those of a sign-in are signed with a key of the JWKS (ES256).
    pub jwt_secret: String,
    /// Where the public half of that key is.
    pub jwks_url: String,
    /// The superuser's way into the database.
    pub database_url: String,
}

/// Only the address: the rest are secrets.
impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A running backend. Dropping it stops everything too, but blocks while it does.
// The fields are dropped in this order: callers first, the folder last.
pub struct Backend {
    server: Server,
    postgrest: PostgRest,
    postgres: Option<Postgres>,
    _home: Home,
    ready: Ready,
    tokens: Tokens,
    faults: Faults,
    realtime: Arc<Realtime>,
    say: fn(&str),
}

impl Backend {
    /// Starts Postgres, brings its schema up to date, makes the two demo accounts (see [`Options`]), starts PostgREST and the gateway.
    ///
    /// # Errors
    /// When a program is missing, does not start, or Postgres refuses a migration. Nothing is left running then.
    pub async fn start(options: Options) -> Result<Backend, Error> {
        Backend::start_and_say(options, |_| {}).await
    }

    /// The same; `say` hears what is being done, in words for a person.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_and_say(options: Options, say: fn(&str)) -> Result<Backend, Error> {
        // Its own requests stay on this machine, but the client wants to know who would do TLS. Somebody may have said so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // First what fails fast.
        let listener = Server::bind(options.port).await?;
        let run_as = RunAs::find()?;
        let run_as = run_as.as_ref();
        let postgrest_program = find_postgrest(run_as)?;
        let home = match &options.data {
            Some(folder) => Home::at(folder, run_as)?,
            None => Home::temporary(run_as)?,
        };
        if home.file(SLOTS_MAP).exists() {
            return Err(Error::OtherData { path: home.root().to_owned(), of: "several pairs" });
        }
        let postgres = start_postgres(&options, &home, run_as, say).await?;
        let database_url = match (&postgres, options.database_url) {
            (Some(own), _) => own.url().to_owned(),
            (None, named) => named.unwrap_or_default(),
        };

        let client = database::connect(&database_url).await?;
        database::prepare(&client, postgres.is_some(), &options.sql, say).await?;
        if postgres.is_some() {
            database::set_wakeups(&client, options.wakeups).await?;
        }
        if let Some(secret) = &options.jwt_secret {
            database::keep_setting(&client, "jwt_secret", secret).await?;
        }
        let tokens = Tokens::new(database::setting(&client, "jwt_secret").await?)?;
        let bounds = postgres.is_some().then(|| database::bounds(options.statement_timeout_s));
        let login = database::authenticator_url(&client, &database_url, bounds.as_deref()).await?;
        let with_learners = postgres.is_some() || options.demo_accounts;
        if !with_learners {
            // Those of one that was killed.
            take_back(&client).await?;
        }
        let accounts = Accounts::new(database_url.clone(), client);
        let learners = async {
            match with_learners {
                true => accounts.ensure_learners(postgres.is_some()).await,
                false => Ok(()),
            }
        };

        say("starting PostgREST");
        let jwks = tokens.signing().jwks_with(tokens.secret()).to_string();
        let started = PostgRest::start(
            &postgrest_program,
            &home,
            run_as,
            &login,
            &jwks,
            options.pre_request.as_deref(),
        );
        let (postgrest, ensured) = tokio::join!(started, learners);
        let postgrest = postgrest?;
        ensured?;

        let faults = Faults::default();
        let upstream = Upstream::new(postgrest.url())?;
        let bytes = match &options.objects {
            Some(url) => Bytes::in_s3(url)?,
            None => Bytes::in_folder(&home.file("objects"))?,
        };
        let storage = Arc::new(Storage::new(database_url.clone(), bytes));
        let realtime = Arc::new(Realtime::start(database_url.clone()));
        let gateway = Gateway {
            accounts,
            tokens: tokens.clone(),
            faults: faults.clone(),
            upstream,
            turns: Turns::default(),
            storage,
            realtime: Arc::clone(&realtime),
            stopping: watch::Sender::new(false),
        };
        let server = Server::start(listener, Arc::new(gateway))?;
        let ready = Ready {
            url: format!("http://{}", server.address()),
            anon_key: tokens.anon_key().to_owned(),
            publishable_key: tokens.publishable_key().to_owned(),
            service_key: tokens.service_key().to_owned(),
            secret_key: tokens.secret_key().to_owned(),
            jwks_url: format!("http://{}/auth/v1/.well-known/jwks.json", server.address()),
            jwt_secret: tokens.secret().to_owned(),
            database_url,
        };
        Ok(Backend { server, postgrest, postgres, _home: home, ready, tokens, faults, realtime, say })
    }

    /// How to reach it.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// PostgREST itself, without the gateway in front: for measurements, which the gateway would blur.
    pub fn postgrest_url(&self) -> &str {
        self.postgrest.url()
    }

    /// The fault switches, the same that `/_marea/faults` sets.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Breaks all sockets of `/realtime/v1` that are open.
    pub fn cut_sockets(&self) {
        self.realtime.cut_sockets();
    }

    /// How many channels the sockets of `/realtime/v1` have joined.
    pub fn joined_sockets(&self) -> usize {
        self.realtime.joined()
    }

    /// An access token for this account, whether or not it exists; a negative `ttl_seconds` gives an expired one.
    ///
    /// # Panics
    /// When signing fails, which HMAC with a key in memory does not.
    pub fn mint_token(&self, user_id: Uuid, ttl_seconds: i64) -> String {
        match self.tokens.access_by_secret(user_id, ttl_seconds) {
            Ok(token) => token.text,
            Err(error) => panic!("{error}"),
        }
    }

    /// A token of these claims, signed with the shared secret: as another sign-in service's, which the project trusts.
    ///
    /// # Panics
    /// When signing fails, which HMAC with a key in memory does not.
    pub fn mint(&self, claims: &serde_json::Value) -> String {
        match self.tokens.sign(claims) {
            Ok(token) => token,
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends PostgREST and a Postgres of its own with SIGKILL, and all connections to the gateway.
    pub async fn kill(self) {
        drop(self.server);
        self.postgrest.kill().await;
        if let Some(postgres) = self.postgres {
            postgres.kill().await;
        }
    }

    /// Stops everything, and takes back the demo accounts that it made in somebody else's database; returns when the processes have
    /// ended and a temporary folder is gone.
    pub async fn stop(self) {
        drop(self.server);
        self.postgrest.stop().await;
        match self.postgres {
            Some(postgres) => postgres.stop().await,
            None => {
                if let Err(error) = leave(&self.ready.database_url).await {
                    (self.say)(&error.to_string());
                }
            }
        }
    }
}

/// Leaves somebody else's database without accounts that everybody could sign in to.
async fn leave(database_url: &str) -> Result<(), Error> {
    take_back(&database::connect(database_url).await?).await
}

/// A private Postgres, unless an existing server was named.
async fn start_postgres(
    options: &Options,
    home: &Home,
    run_as: Option<&RunAs>,
    say: fn(&str),
) -> Result<Option<Postgres>, Error> {
    if options.database_url.is_some() {
        return Ok(None);
    }
    let named: Option<&Path> = options.postgres_bin.as_deref();
    let bin = find_postgres(named, run_as)?;
    say(&format!("starting Postgres from {}", bin.display()));
    Ok(Some(Postgres::start(&bin, home, run_as).await?))
}

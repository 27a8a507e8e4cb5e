//! A private PostgREST on a free loopback port, set up as Supabase's is. It only starts it; calls go through the gateway.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Error;
use crate::home::Home;
use crate::postgres::{free_port, not_started};
use crate::process::{POLL, Service, command};
use crate::run_as::RunAs;

const ATTEMPTS: usize = 5;
const START_BOUND: Duration = Duration::from_secs(30);

/// A running server that has read the schema.
pub(crate) struct PostgRest {
    service: Service,
    url: String,
}

impl PostgRest {
    /// `database_url` is that of the login role that takes on the callers' roles; `jwks` is what tokens are checked with.
    pub(crate) async fn start(
        program: &Path,
        home: &Home,
        run_as: Option<&RunAs>,
        database_url: &str,
        jwks: &str,
        pre_request: Option<&str>,
    ) -> Result<PostgRest, Error> {
        let mut attempt = 1;
        loop {
            match serve(program, home, run_as, database_url, jwks, pre_request).await {
                Ok(started) => return Ok(started),
                Err(error) if attempt == ATTEMPTS || !port_was_taken(&error) => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Where it listens, without a slash at the end.
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

fn port_was_taken(error: &Error) -> bool {
    matches!(error, Error::NotStarted { log_tail, .. }
        if log_tail.contains("bind") || log_tail.contains("resource busy"))
}

async fn serve(
    program: &Path,
    home: &Home,
    run_as: Option<&RunAs>,
    database_url: &str,
    jwks: &str,
    pre_request: Option<&str>,
) -> Result<PostgRest, Error> {
    let (port, admin_port) = (free_port()?, free_port()?);
    let mut postgrest = command(program, run_as);
    postgrest
        .env("PGRST_DB_URI", database_url)
        .env("PGRST_DB_SCHEMAS", "public")
        .env("PGRST_DB_ANON_ROLE", "anon")
        .env("PGRST_DB_POOL", "10")
        // Supabase's cap on the rows of an answer; calls must not come to depend on more.
        .env("PGRST_DB_MAX_ROWS", "1000")
        .env("PGRST_JWT_SECRET", jwks)
        .env("PGRST_LOG_LEVEL", "crit")
        .env("PGRST_SERVER_HOST", "127.0.0.1")
        .env("PGRST_SERVER_PORT", port.to_string())
        .env("PGRST_ADMIN_SERVER_PORT", admin_port.to_string());
    if let Some(function) = pre_request {
        postgrest.env("PGRST_DB_PRE_REQUEST", function);
    }
    let mut service = Service::start(postgrest, Signal::SIGTERM, &home.file("postgrest.log"))?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let admin = format!("http://127.0.0.1:{admin_port}/ready");
    let ready = async {
        loop {
            let answer = client.get(&admin).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            // Looked at after the answer: a stranger on our port would answer too, but our child would have ended.
            if let Some(status) = service.ended() {
                return Err(not_started("PostgREST", Some(status), &service));
            }
            if is_ready {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let outcome = tokio::time::timeout(START_BOUND, ready).await;
    match outcome {
        Ok(Ok(())) => Ok(PostgRest { service, url: format!("http://127.0.0.1:{port}") }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(not_started("PostgREST", None, &service)),
    }
}

//! Several complete backends behind one address: HAProxy sends each user's requests to the one pair of Postgres and PostgREST that
//! has everything of that user. It holds no secret: each pair checks the tokens itself.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use uuid::Uuid;

use crate::home::Home;
use crate::postgres::{free_port, not_started};
use crate::process::{POLL, Service, command};
use crate::repository::Sql;
use crate::{Backend, Error, Options, Ready};

/// Users are spread over so many slots, and slots over the pairs: a slot is moved in one step, with whoever is in it.
const SLOTS: usize = 1024;
const START_BOUND: Duration = Duration::from_secs(30);
const HAPROXY: [&str; 3] = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/opt/homebrew/bin/haproxy"];
/// Names the HAProxy program.
const HAPROXY_VARIABLE: &str = "MAREA_HAPROXY";

/// The pairs and their router. Dropping it stops everything.
pub struct Pairs {
    router: Option<Service>,
    pairs: Vec<Backend>,
    home: Home,
    port: u16,
    ready: Ready,
}

impl Pairs {
    /// Starts `count` pairs and the router in front of them. Accounts are those of the first pair; the others know its keys.
    ///
    /// # Errors
    /// As [`Backend::start`], and when there is no HAProxy.
    pub async fn start(options: Options, count: usize, say: fn(&str)) -> Result<Pairs, Error> {
        find_haproxy()?;
        let users = Sql::find()?.users_of_pairs();
        let mut pairs: Vec<Backend> = Vec::new();
        for number in 0..count {
            say(&format!("starting pair {number}"));
            let mut sql = options.sql.clone();
            sql.push(users.clone());
            let own = Options {
                port: 0,
                data: options.data.as_ref().map(|data| data.join(format!("pair-{number}"))),
                sql,
                jwt_secret: pairs.first().map(|first| first.ready().jwt_secret.clone()),
                pre_request: Some("public.make_user".to_owned()),
                ..options.clone()
            };
            pairs.push(Backend::start_and_say(own, say).await?);
        }
        let home = Home::temporary(None)?;
        let port = if options.port == 0 { free_port()? } else { options.port };
        let url = format!("http://127.0.0.1:{port}");
        let first = pairs.first().map(Backend::ready).cloned();
        let first = first.ok_or(Error::NoPairs)?;
        let ready = Ready { jwks_url: first.jwks_url.replace(&first.url, &url), url, ..first };
        let mut made = Pairs { router: None, pairs, home, port, ready };
        made.write_files()?;
        made.start_router().await?;
        Ok(made)
    }

    /// How to reach them: the router's address, and all else of the first pair.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The pairs, each to be reached past the router too.
    pub fn pairs(&self) -> &[Backend] {
        &self.pairs
    }

    /// Sends this user's requests to this pair from now on, whatever the user's slot says.
    ///
    /// # Errors
    /// When the router does not answer.
    pub async fn route(&self, user: Uuid, pair: usize) -> Result<(), Error> {
        let map = self.home.file("users.map");
        let known = fs::read_to_string(&map).unwrap_or_default();
        let kept: String = known.lines().filter(|line| !line.starts_with(&user.to_string())).fold(
            String::new(),
            |mut text, line| {
                let _ = writeln!(text, "{line}");
                text
            },
        );
        // For the router's next start, and for this one.
        fs::write(&map, format!("{kept}{user} pair{pair}\n"))
            .map_err(Error::file("could not write", &map))?;
        let map = map.display();
        self.tell(&format!("del map {map} {user}\n")).await?;
        self.tell(&format!("add map {map} {user} pair{pair}\n")).await
    }

    /// Ends the router at once, as a crash would.
    pub fn kill_router(&mut self) {
        self.router = None;
    }

    /// Starts it again, on the same port, with what it knew.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_router(&mut self) -> Result<(), Error> {
        let mut router = command(&find_haproxy()?, None);
        router.arg("-db").arg("-f").arg(self.home.file("haproxy.cfg"));
        let mut service = Service::start(router, Signal::SIGTERM, &self.home.file("haproxy.log"))?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let monitor = format!("{}/_router", self.ready.url);
        let up = async {
            loop {
                let answered = client.get(&monitor).send().await;
                if let Some(status) = service.ended() {
                    return Some(status);
                }
                if answered.is_ok_and(|answer| answer.status().is_success()) {
                    return None;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(START_BOUND, up).await {
            Ok(None) => {
                self.router = Some(service);
                Ok(())
            }
            Ok(Some(status)) => Err(not_started("HAProxy", Some(status), &service)),
            Err(_) => Err(not_started("HAProxy", None, &service)),
        }
    }

    /// Stops everything.
    pub async fn stop(self) {
        if let Some(router) = self.router {
            router.stop().await;
        }
        for pair in self.pairs {
            pair.stop().await;
        }
    }

    fn write_files(&self) -> Result<(), Error> {
        let slots = (0..SLOTS).fold(String::new(), |mut text, slot| {
            let _ = writeln!(text, "{slot} pair{}", slot % self.pairs.len());
            text
        });
        let addresses: Vec<&str> =
            self.pairs.iter().map(|pair| pair.ready().url.trim_start_matches("http://")).collect();
        let configuration = configuration(self.port, &self.home.file(""), &addresses);
        for (name, text) in
            [("slots.map", &slots), ("users.map", &String::new()), ("haproxy.cfg", &configuration)]
        {
            let path = self.home.file(name);
            fs::write(&path, text).map_err(Error::file("could not write", path))?;
        }
        Ok(())
    }

    /// A line to the router's own socket. It answers with nothing where all is well, or where there was nothing to delete.
    async fn tell(&self, line: &str) -> Result<(), Error> {
        let socket = self.home.file("haproxy.sock");
        let said = async {
            let mut stream = UnixStream::connect(&socket).await?;
            stream.write_all(line.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        said.await.map(|_: String| ()).map_err(Error::file("could not speak to", socket))
    }
}

/// What HAProxy is told. docs/migrations/PAIRS.md shows it and says why.
fn configuration(port: u16, folder: &Path, pairs: &[&str]) -> String {
    let folder = folder.display().to_string();
    let folder = folder.trim_end_matches('/');
    let mut text = format!(
        "global
    stats socket {folder}/haproxy.sock mode 600 level admin

defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s

frontend router
    bind 127.0.0.1:{port}
    monitor-uri /_router
    http-request set-var(txn.user) http_auth_bearer,jwt_payload_query('$.sub'),lower
    http-request set-var(txn.pair) var(txn.user),djb2(1),mod({SLOTS}),map_int({folder}/slots.map) if {{ var(txn.user) -m found }}
    http-request set-var(txn.pair) var(txn.user),map_str({folder}/users.map) if {{ var(txn.user),map_str({folder}/users.map) -m found }}
    use_backend pair0 if {{ method OPTIONS }} or {{ path_beg /auth/v1/ }} or {{ path /rest/v1/rpc/marea_catalogue }}
    use_backend %[var(txn.pair)] if {{ var(txn.pair) -m found }}
    default_backend nobody

backend nobody
    http-request return status 401 content-type application/json string '{{\"code\":\"PGRST301\",\"message\":\"No token that says who you are\"}}'
"
    );
    for (number, address) in pairs.iter().enumerate() {
        let _ = write!(text, "\nbackend pair{number}\n    server pair{number} {address}\n");
    }
    text
}

fn find_haproxy() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os(HAPROXY_VARIABLE).map(PathBuf::from) {
        return match named.is_file() {
            true => Ok(named),
            false => Err(Error::WrongPlace { path: named, wanted: "haproxy", named_by: HAPROXY_VARIABLE }),
        };
    }
    let found = HAPROXY.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or(Error::MissingProgram { program: "HAProxy", variable: HAPROXY_VARIABLE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_shows_what_the_router_is_told() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrations/PAIRS.md");
        let document = fs::read_to_string(document).expect("the document");
        let told = configuration(443, Path::new("/etc/haproxy"), &["10.0.0.10:3000", "10.0.0.11:3000"]);
        let rules = ["http-request", "use_backend", "default_backend", "server", "backend", "frontend"];
        let shown: Vec<&str> = document
            .lines()
            .map(str::trim)
            .filter(|line| rules.iter().any(|rule| line.split(' ').next() == Some(rule)))
            .collect();
        assert!(shown.len() > 8, "{shown:?}");
        for line in shown {
            assert!(told.lines().any(|own| own.trim() == line), "{line}");
        }
    }
}

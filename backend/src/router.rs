//! HAProxy in front of several pairs: it sends each user's requests to the one pair that has everything of that user. It holds no
//! secret and checks no token: each pair does. It knows addresses, and nothing of what is behind them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use uuid::Uuid;

use crate::Error;
use crate::home::Home;
use crate::postgres::{free_port, not_started};
use crate::process::{POLL, Service, command};

/// Users are spread over so many slots, and slots over the pairs: a slot is moved in one step, with whoever is in it.
const SLOTS: usize = 1024;
/// Which pair each slot belongs to.
pub(crate) const SLOTS_MAP: &str = "slots.map";
/// The pairs of users who were moved by themselves.
const USERS_MAP: &str = "users.map";
const CONFIGURATION: &str = "haproxy.cfg";
const START_BOUND: Duration = Duration::from_secs(30);
const HAPROXY: [&str; 3] = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/opt/homebrew/bin/haproxy"];
/// Names the HAProxy program.
const HAPROXY_VARIABLE: &str = "MAREA_HAPROXY";

/// A router. Dropping it stops it.
// Dropped in this order: HAProxy, then its folder.
pub struct Router {
    service: Option<Service>,
    /// Of this start: the configuration, the log, and a socket, whose path must be short.
    home: Home,
    /// The folder of the maps, in the other one or linked from it.
    maps: PathBuf,
    port: u16,
    pairs: Vec<String>,
}

impl Router {
    /// Starts one in front of these addresses, each `host:port`. The maps in the folder `kept` count where there are
    /// some, and are made where not; `None` for maps of this start. Port 0 is any free one.
    ///
    /// # Errors
    /// When there is no HAProxy, it does not start, or the maps name more pairs than there are.
    pub async fn start(port: u16, kept: Option<&Path>, pairs: Vec<String>) -> Result<Router, Error> {
        let home = Home::temporary(None)?;
        let maps = home.file("maps");
        match kept {
            // HAProxy would need a space or a comma of the real path to be quoted.
            Some(folder) => symlink(folder, &maps),
            None => fs::create_dir(&maps),
        }
        .map_err(Error::file("could not make", &maps))?;
        let port = if port == 0 { free_port()? } else { port };
        let mut made = Router { service: None, home, maps, port, pairs };
        made.make_maps()?;
        made.write_configuration()?;
        made.open().await?;
        Ok(made)
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends this user's requests to this pair from now on, whatever the user's slot says.
    ///
    /// # Errors
    /// When there is no such pair, or the router does not answer; then it does so after its next start.
    pub async fn route(&mut self, user: Uuid, pair: usize) -> Result<(), Error> {
        if pair >= self.pairs.len() {
            return Err(Error::TooFewPairs { needed: pair + 1 });
        }
        let map = self.maps.join(USERS_MAP);
        let known = fs::read_to_string(&map).map_err(Error::file("could not read", &map))?;
        let user = user.to_string();
        let kept = known.lines().filter(|line| !line.starts_with(&user));
        let lines: Vec<String> = kept.map(str::to_owned).chain([format!("{user} pair{pair}\n")]).collect();
        write_whole(&map, &lines.join("\n"))?;
        let entry = format!("{} {user} pair{pair}", map.display());
        // In one step where the user has a line: without one the user would be sent to the pair of the slot for a moment.
        if self.tell(&format!("set map {entry}")).await?.is_empty() {
            return Ok(());
        }
        self.tell_quiet(&format!("add map {entry}")).await
    }

    /// The pair of this number is at another address from now on.
    ///
    /// # Errors
    /// When the router does not answer; then it knows after its next start.
    pub async fn serve_from(&mut self, pair: usize, address: &str) -> Result<(), Error> {
        let known = self.pairs.get_mut(pair).ok_or(Error::TooFewPairs { needed: pair + 1 })?;
        address.clone_into(known);
        self.write_configuration()?;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
        let said = self.tell(&format!("set server pair{pair}/pair{pair} addr {host} port {port}")).await?;
        match said.is_empty() || said.contains("changed") || said.contains("no need to change") {
            true => Ok(()),
            false => Err(Error::Router { said }),
        }
    }

    /// Answers for this pair with 503 at once, or asks it again.
    ///
    /// # Errors
    /// When the router does not answer.
    pub async fn hold(&self, pair: usize, is_held: bool) -> Result<(), Error> {
        let state = if is_held { "maint" } else { "ready" };
        self.tell_quiet(&format!("set server pair{pair}/pair{pair} state {state}")).await
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(service) = self.service.take() {
            service.kill().await;
        }
    }

    /// Starts it again after [`Router::kill`], on the same port, with what it knew.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(&mut self) -> Result<(), Error> {
        let mut router = command(&find_haproxy()?, None);
        router.arg("-db").arg("-f").arg(self.home.file(CONFIGURATION));
        let mut service = Service::start(router, Signal::SIGTERM, &self.home.file("haproxy.log"))?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let monitor = format!("{}/_router", self.url());
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
                self.service = Some(service);
                Ok(())
            }
            Ok(Some(status)) => Err(not_started("HAProxy", Some(status), &service)),
            Err(_) => Err(not_started("HAProxy", None, &service)),
        }
    }

    /// Stops it.
    pub async fn stop(self) {
        if let Some(service) = self.service {
            service.stop().await;
        }
    }

    /// Writes the maps that are missing. A map that is there was made for so many pairs, and users may have been moved since.
    fn make_maps(&self) -> Result<(), Error> {
        let slots = (0..SLOTS).fold(String::new(), |mut text, slot| {
            let _ = writeln!(text, "{slot} pair{}", slot % self.pairs.len());
            text
        });
        for (name, made) in [(SLOTS_MAP, slots), (USERS_MAP, String::new())] {
            let path = self.maps.join(name);
            if !path.exists() {
                write_whole(&path, &made)?;
            }
            let text = fs::read_to_string(&path).map_err(Error::file("could not read", &path))?;
            let needed = pairs_named(&text);
            if needed > self.pairs.len() {
                return Err(Error::TooFewPairs { needed });
            }
        }
        Ok(())
    }

    fn write_configuration(&self) -> Result<(), Error> {
        let socket = self.home.file("haproxy.sock");
        let text = configuration(self.port, &socket, &self.maps, &self.pairs);
        write_whole(&self.home.file(CONFIGURATION), &text)
    }

    /// A line to the router's own socket, and what it says to that: mostly nothing where all is well. One that is not running reads
    /// the files when it starts.
    async fn tell(&self, line: &str) -> Result<String, Error> {
        if self.service.is_none() {
            return Ok(String::new());
        }
        let socket = self.home.file("haproxy.sock");
        let said = async {
            let mut stream = UnixStream::connect(&socket).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer.trim().to_owned())
        };
        said.await.map_err(Error::file("could not speak to", socket))
    }

    async fn tell_quiet(&self, line: &str) -> Result<(), Error> {
        match self.tell(line).await? {
            said if said.is_empty() => Ok(()),
            said => Err(Error::Router { said }),
        }
    }
}

/// Replaces a file in one step: a crash leaves the old one or the new one.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let beside = path.with_extension("new");
    fs::write(&beside, text).map_err(Error::file("could not write", &beside))?;
    fs::rename(&beside, path).map_err(Error::file("could not write", path))
}

/// How many pairs there must be for what a map names.
fn pairs_named(map: &str) -> usize {
    let numbers = map.lines().filter_map(|line| line.rsplit_once(" pair")?.1.parse::<usize>().ok());
    numbers.map(|number| number + 1).max().unwrap_or(0)
}

/// What HAProxy is told. docs/migrations/PAIRS.md shows it and says why.
fn configuration(port: u16, socket: &Path, maps: &Path, pairs: &[String]) -> String {
    let (slots, users) = (maps.join(SLOTS_MAP), maps.join(USERS_MAP));
    let (socket, slots, users) = (socket.display(), slots.display(), users.display());
    let mut text = format!(
        "global
    stats socket {socket} mode 600 level admin

defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s

frontend router
    bind 127.0.0.1:{port}
    monitor-uri /_router
    http-after-response set-header access-control-allow-origin \"*\" unless {{ res.hdr(access-control-allow-origin) -m found }}
    http-request return status 204 hdr access-control-allow-methods \"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS\" hdr access-control-allow-headers \"%[req.fhdr(access-control-request-headers)]\" hdr access-control-max-age 3600 hdr access-control-allow-private-network true if METH_OPTIONS {{ req.hdr(access-control-request-method) -m found }}
    http-request set-var(txn.user) http_auth_bearer,jwt_payload_query('$.sub'),lower
    http-request set-var(txn.user) path,field(7,/),lower if METH_GET {{ path_beg /storage/v1/object/sign/ }}
    http-request set-var(txn.pair) var(txn.user),djb2(1),mod({SLOTS}),map_int({slots}) if {{ var(txn.user) -m found }}
    http-request set-var(txn.pair) var(txn.user),map_str({users}) if {{ var(txn.user),map_str({users}) -m found }}
    use_backend pair0 if METH_OPTIONS or {{ path_beg /auth/v1/ }} or {{ path /rest/v1/rpc/marea_catalogue }}
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

/// The HAProxy program.
pub(crate) fn find_haproxy() -> Result<PathBuf, Error> {
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
        let pairs = ["10.0.0.10:3000", "10.0.0.11:3000"].map(str::to_owned);
        let folder = Path::new("/etc/haproxy");
        let told = configuration(443, Path::new("/run/haproxy/admin.sock"), folder, &pairs);
        let rules = [
            "http-after-response",
            "http-request",
            "use_backend",
            "default_backend",
            "server",
            "backend",
            "frontend",
        ];
        let is_rule = |line: &&str| rules.iter().any(|rule| line.split(' ').next() == Some(rule));
        let shown: Vec<&str> = document.lines().map(str::trim).filter(is_rule).collect();
        assert!(told.lines().map(str::trim).filter(is_rule).all(|line| shown.contains(&line)), "{shown:?}");
        for line in shown {
            assert!(told.lines().any(|own| own.trim() == line), "{line}");
        }
    }

    #[test]
    fn a_map_says_how_many_pairs_it_needs() {
        assert_eq!(pairs_named(""), 0);
        assert_eq!(pairs_named("0 pair0\n1 pair11\n2 pair2\n"), 12);
    }
}

//! Several complete backends behind one address, each user wholly in one of them. The address is that of a router (`router.rs`); what
//! is in a backend is its own affair.

use crate::home::Home;
use crate::repository::Sql;
use crate::router::{Router, find_haproxy};
use crate::run_as::RunAs;
use crate::{Backend, Error, Options, Ready};

/// The pairs and their router. Dropping it stops everything.
// Dropped in this order: callers first, the folder last.
pub struct Pairs {
    router: Router,
    pairs: Vec<Pair>,
    _home: Option<Home>,
    ready: Ready,
    say: fn(&str),
}

/// One of them, with how it is started again.
struct Pair {
    backend: Option<Backend>,
    options: Options,
}

impl Pairs {
    /// Starts `count` pairs and the router in front of them. Accounts are those of the first pair; the others know its keys. With a data
    /// folder everything is kept in it, which pair has whom included; where there are more pairs than at the last start, the new ones
    /// have nobody until users are moved.
    ///
    /// # Errors
    /// As [`Backend::start`], when there is no HAProxy, and when the data folder has users in more pairs.
    pub async fn start(options: Options, count: usize, say: fn(&str)) -> Result<Pairs, Error> {
        Pairs::begin(options, &vec![None; count], say).await
    }

    /// The same in databases that are there already, each a superuser's URL; several may be of one server.
    ///
    /// # Errors
    /// As [`Pairs::start`].
    pub async fn start_on(options: Options, databases: &[String], say: fn(&str)) -> Result<Pairs, Error> {
        let databases: Vec<Option<String>> = databases.iter().cloned().map(Some).collect();
        Pairs::begin(options, &databases, say).await
    }

    async fn begin(options: Options, databases: &[Option<String>], say: fn(&str)) -> Result<Pairs, Error> {
        find_haproxy()?;
        let home = match &options.data {
            Some(folder) => Some(Home::at(folder, RunAs::find()?.as_ref())?),
            None => None,
        };
        if let Some(home) = home.as_ref().filter(|home| home.cluster().exists()) {
            return Err(Error::OtherData { path: home.root().to_owned(), of: "one backend" });
        }
        let users = Sql::find()?.users_of_pairs();
        let mut pairs: Vec<Pair> = Vec::new();
        let mut first: Option<Ready> = None;
        for (number, database_url) in databases.iter().enumerate() {
            say(&format!("starting pair {number}"));
            let mut sql = options.sql.clone();
            sql.push(users.clone());
            let options = Options {
                port: 0,
                data: options.data.as_ref().map(|data| data.join(format!("pair-{number}"))),
                database_url: database_url.clone(),
                sql,
                jwt_secret: first.as_ref().map(|first| first.jwt_secret.clone()),
                pre_request: Some("public.make_user".to_owned()),
                ..options.clone()
            };
            let backend = Backend::start_and_say(options.clone(), say).await?;
            first.get_or_insert_with(|| backend.ready().clone());
            pairs.push(Pair { backend: Some(backend), options });
        }
        let first = first.ok_or(Error::NoPairs)?;
        let addresses = pairs.iter().filter_map(|pair| pair.backend.as_ref()).map(address_of).collect();
        let router = Router::start(options.port, home.as_ref().map(Home::root), addresses).await?;
        let url = router.url();
        let ready = Ready { jwks_url: first.jwks_url.replace(&first.url, &url), url, ..first };
        Ok(Pairs { router, pairs, _home: home, ready, say })
    }

    /// How to reach them: the router's address, and all else of the first pair when it was started.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pairs.len()
    }

    /// One of them, to be reached past the router too; `None` while it is down.
    pub fn pair(&self, number: usize) -> Option<&Backend> {
        self.pairs.get(number)?.backend.as_ref()
    }

    /// What is in front of them.
    pub fn router(&mut self) -> &mut Router {
        &mut self.router
    }

    /// Ends PostgREST and a Postgres of this pair's own with SIGKILL. A database of somebody's server goes on; one that was temporary is
    /// gone.
    pub async fn kill_pair(&mut self, number: usize) {
        if let Some(backend) = self.pairs.get_mut(number).and_then(|pair| pair.backend.take()) {
            backend.kill().await;
        }
    }

    /// Starts a pair again after [`Pairs::kill_pair`], in another database where one is named, and lets the router know where.
    ///
    /// # Errors
    /// As [`Backend::start`], and when the router does not answer.
    pub async fn start_pair(&mut self, number: usize, database_url: Option<&str>) -> Result<(), Error> {
        let pair = self.pairs.get_mut(number).ok_or(Error::TooFewPairs { needed: number + 1 })?;
        if let Some(url) = database_url {
            pair.options.database_url = Some(url.to_owned());
        }
        let backend = Backend::start_and_say(pair.options.clone(), self.say).await?;
        let address = address_of(&backend);
        pair.backend = Some(backend);
        self.router.serve_from(number, &address).await
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.router.stop().await;
        for backend in self.pairs.into_iter().filter_map(|pair| pair.backend) {
            backend.stop().await;
        }
    }
}

fn address_of(backend: &Backend) -> String {
    backend.ready().url.trim_start_matches("http://").to_owned()
}

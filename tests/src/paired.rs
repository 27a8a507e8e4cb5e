//! Devices of several users that write through the router of several pairs, which are databases of a few servers, while processes die;
//! and what must hold in the end: each user is wholly in one pair, and everything that was recorded is there, once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use marea_backend::{Backend, BarePostgres, Options, Pairs};
use marea_core::{Outcome, SessionInput, Transport};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::backend::{connect, send};
use crate::engine_device::{EngineDevice, at};
use crate::random::Random;
use crate::standby::{crash, open_folder};
use crate::wait;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;
/// What a test's servers have set: pairs can be moved by logical replication, whose workers look again soon, and nobody pulls the plug.
const SETTINGS: [&str; 3] = ["wal_level = logical", "wal_retrieve_retry_interval = '200ms'", "fsync = off"];

/// What is killed, with SIGKILL.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    /// HAProxy.
    Router,
    /// PostgREST and the gateway of this pair.
    Pair(usize),
    /// Postgres, the one that this pair is a database of: all pairs on it recover.
    Server(usize),
}

/// Servers, pairs, devices.
// Dropped in this order: callers first, folders last.
pub struct Paired {
    lives: JoinSet<Member>,
    /// The pairs and their router.
    pub pairs: AsyncMutex<Pairs>,
    places: Mutex<Vec<Place>>,
    servers: Vec<BarePostgres>,
    _folders: Vec<TempDir>,
    users: Vec<Uuid>,
    devices: usize,
    rounds: watch::Sender<u64>,
    counts: Arc<Counts>,
}

/// Where a pair's database is.
#[derive(Clone)]
struct Place {
    server: usize,
    url: String,
}

#[derive(Default)]
struct Counts {
    tried: AtomicUsize,
    done: AtomicUsize,
}

/// What a run came to.
#[derive(Debug)]
pub struct Tally {
    /// Sessions that were recorded, and are there.
    pub sessions: usize,
    /// Syncs while others wrote.
    pub syncs: usize,
    /// Those of them that were not answered, or refused.
    pub failed: usize,
}

/// A device and what was recorded on it.
struct Member {
    user: Uuid,
    device: EngineDevice,
    transport: Transport,
    recorded: BTreeMap<Uuid, i64>,
    random: Random,
}

impl Paired {
    /// So many servers of these programs (`None`: the usual ones) with so many pairs on them by turns; users who have signed up through the
    /// router; devices that are given to the users by turns, each with a session that has arrived.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(
        programs: Option<&Path>,
        [servers, pairs, users, devices]: [usize; 4],
        random: &mut Random,
    ) -> Paired {
        let (mut folders, mut started) = (Vec::new(), Vec::new());
        for _ in 0..servers {
            let folder = open_folder();
            started.push(start_server(folder.path(), programs).await);
            folders.push(folder);
        }
        let mut places = Vec::new();
        for pair in 0..pairs {
            let server = pair % servers;
            let url = make_database(&started[server], &format!("pair{pair}")).await;
            places.push(Place { server, url });
        }
        let urls: Vec<String> = places.iter().map(|place| place.url.clone()).collect();
        let pairs = Pairs::start_on(Options::default(), &urls, |_| {}).await.expect("pairs and a router");
        let mut learners = Vec::new();
        for number in 0..users {
            learners.push(sign_up(&pairs, number).await);
        }
        let (rounds, watched) = watch::channel(0);
        let counts = Arc::new(Counts::default());
        let mut lives = JoinSet::new();
        for number in 0..devices {
            let (user, token) = learners[number % users].clone();
            let ready = pairs.ready();
            let member = Member {
                user,
                device: EngineDevice::new(user.into(), token, at(NOON_MS)),
                transport: Transport::new(&ready.url, &ready.anon_key).expect("an address"),
                recorded: BTreeMap::new(),
                random: Random::of_seed(random.bits()),
            };
            lives.spawn(live(member, watched.clone(), Arc::clone(&counts)));
        }
        let paired = Paired {
            lives,
            pairs: AsyncMutex::new(pairs),
            places: Mutex::new(places),
            servers: started,
            _folders: folders,
            users: learners.into_iter().map(|(user, _)| user).collect(),
            devices,
            rounds,
            counts,
        };
        paired.write(100).await;
        assert_eq!(paired.counts.done.load(Ordering::SeqCst), devices, "nothing has been killed yet");
        paired
    }

    /// The users.
    pub fn users(&self) -> &[Uuid] {
        &self.users
    }

    /// Lets every device record a session and sync; waits for so many percent of them.
    pub async fn write(&self, percent: usize) {
        let wanted = self.counts.tried.load(Ordering::SeqCst) + self.devices * percent / 100;
        self.rounds.send_modify(|round| *round += 1);
        let tried = &self.counts.tried;
        wait::until("the devices write", || async { tried.load(Ordering::SeqCst) >= wanted }).await;
    }

    /// Does something, and lets the devices write until it is done.
    pub async fn while_writing<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.write(60) => {}
            }
        }
    }

    /// Kills something, lets the devices notice, and starts it again.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn kill(&self, victim: Victim) {
        match victim {
            Victim::Router => {
                self.pairs.lock().await.router().kill().await;
                self.write(20).await;
                self.pairs.lock().await.router().open().await.expect("the router, again");
            }
            Victim::Pair(pair) => {
                self.pairs.lock().await.kill_pair(pair).await;
                self.write(20).await;
                self.pairs.lock().await.start_pair(pair, None).await.expect("the pair, again");
            }
            Victim::Server(pair) => crash(&self.url(pair)).await,
        }
    }

    /// The superuser's way into a pair's database.
    pub fn url(&self, pair: usize) -> String {
        self.place(pair).url
    }

    /// An empty database on another server than the pair's: that server, and the superuser's way into the database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn other_database(&self, pair: usize, name: &str) -> (usize, String) {
        let server = (self.place(pair).server + 1) % self.servers.len();
        (server, make_database(&self.servers[server], name).await)
    }

    /// A pair that is down starts in this database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_pair_on(&self, pair: usize, (server, url): (usize, String)) {
        let mut pairs = self.pairs.lock().await;
        pairs.start_pair(pair, Some(&url)).await.expect("the pair, elsewhere");
        self.places()[pair] = Place { server, url };
    }

    fn place(&self, pair: usize) -> Place {
        self.places()[pair].clone()
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only pair that has anything of this user's progress.
    ///
    /// # Panics
    /// When there is not one.
    pub async fn home_of(&self, user: Uuid) -> usize {
        let mut homes = Vec::new();
        let count = self.places().len();
        for pair in 0..count {
            let query = "SELECT EXISTS (SELECT FROM public.sessions WHERE user_id = $1)
                OR EXISTS (SELECT FROM marea.daily_activity WHERE user_id = $1)";
            let database = connect(&self.url(pair)).await;
            if database.query_one(query, &[&user]).await.expect("an answer").get(0) {
                homes.push(pair);
            }
        }
        assert_eq!(homes.len(), 1, "{user} is in {homes:?}");
        homes[0]
    }

    /// The devices stop writing and sync until nothing is new to any; then each user is in one pair, which has all that was recorded, and
    /// each device shows it.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn all_is_there_once(mut self) -> Tally {
        drop(std::mem::replace(&mut self.rounds, watch::Sender::new(0)));
        let members = std::mem::take(&mut self.lives).join_all().await;
        // First everybody brings what is missing, then everybody gets what the others brought.
        for _ in 0..2 {
            for member in &members {
                let report = member.device.sync(&member.transport).await;
                assert_eq!((report.outcome, member.device.pending()), (Outcome::Done, 0));
            }
        }
        for user in &self.users {
            let own = || members.iter().filter(|member| member.user == *user);
            let recorded: BTreeMap<Uuid, i64> = own().flat_map(|member| member.recorded.clone()).collect();
            let database = connect(&self.url(self.home_of(*user).await)).await;
            assert_eq!(sessions(&database, *user).await, recorded, "what is there and what was recorded");
            let wanted = (recorded.len() as i64, recorded.values().sum::<i64>());
            let query = "SELECT total_sessions::bigint, total_time_spent_minutes::bigint FROM public.user_progress WHERE user_id = $1";
            let row = database.query_one(query, &[user]).await.expect("the totals");
            assert_eq!((row.get(0), row.get(1)), wanted, "what Postgres counts");
            for member in own() {
                let shown = member.device.progress();
                let shown = (shown.total_sessions, shown.total_time_spent_minutes);
                assert_eq!(shown, wanted, "what a device shows");
            }
        }
        self.pairs.into_inner().stop().await;
        for server in self.servers {
            server.stop().await;
        }
        let [syncs, done] = [&self.counts.tried, &self.counts.done].map(|count| count.load(Ordering::SeqCst));
        let sessions = members.iter().map(|member| member.recorded.len()).sum();
        Tally { sessions, syncs, failed: syncs - done }
    }
}

async fn sessions(database: &Client, user: Uuid) -> BTreeMap<Uuid, i64> {
    let query = "SELECT id, duration_minutes::bigint FROM public.sessions WHERE user_id = $1";
    let rows = database.query(query, &[&user]).await.expect("the sessions");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A server that a backend has made: it has the roles of all pairs.
async fn start_server(folder: &Path, programs: Option<&Path>) -> BarePostgres {
    let data = folder.join("data");
    let postgres_bin = programs.map(Path::to_owned);
    let options = Options { data: Some(data.clone()), postgres_bin, ..Options::default() };
    let backend = Backend::start(options).await.expect("a backend");
    let database = connect(&backend.ready().database_url).await;
    for setting in SETTINGS {
        database.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.expect("a setting");
    }
    backend.stop().await;
    BarePostgres::start(&data, programs).await.expect("Postgres starts")
}

async fn make_database(server: &BarePostgres, name: &str) -> String {
    let made = connect(server.url()).await.batch_execute(&format!("CREATE DATABASE {name}")).await;
    made.expect("a new database");
    let (address, _) = server.url().rsplit_once('/').expect("a path in the URL");
    format!("{address}/{name}")
}

/// An account of the first pair: its id and a token.
async fn sign_up(pairs: &Pairs, number: usize) -> (Uuid, String) {
    let ready = pairs.ready();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let call = client.post(format!("{}/auth/v1/signup", ready.url)).header("apikey", &ready.anon_key);
    let account =
        json!({ "email": format!("pupil{number}@example.com"), "password": "a pass phrase of one" });
    let answer = send(call.json(&account)).await;
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    (text(&answer.body["user"]["id"]).parse().expect("a UUID"), text(&answer.body["access_token"]))
}

/// A device's life: in each round it records and syncs, whatever becomes of it.
async fn live(mut member: Member, mut rounds: watch::Receiver<u64>, counts: Arc<Counts>) -> Member {
    while rounds.changed().await.is_ok() {
        let minutes = member.random.within(1..=90);
        let duration_minutes = Some(i32::try_from(minutes).expect("a short session"));
        let session = SessionInput { duration_minutes, ..SessionInput::new("practice") };
        member.recorded.insert(*member.device.record(session).id.as_uuid(), minutes);
        let report = member.device.sync(&member.transport).await;
        assert_eq!(report.rejected, 0, "a server refuses what it should take");
        counts.done.fetch_add(usize::from(report.outcome == Outcome::Done), Ordering::SeqCst);
        counts.tried.fetch_add(1, Ordering::SeqCst);
    }
    member
}

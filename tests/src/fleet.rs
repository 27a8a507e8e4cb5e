//! Devices of several users that write while the servers behind them change, and what must hold of them: who has seen a state that is gone
//! is sent back to the beginning, at once and once, and nobody else; in the end everything that anybody recorded is there, once. Which
//! states are gone is known here by where each user's clock stood when a server took over, not by `marea.runs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marea_core::{SessionInput, SyncAnswer};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::engine_device::{EngineDevice, at};
use crate::random::Random;
use crate::sql::{new_id, try_act_as};
use crate::standby::Server;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;

/// A server, as it stood before the first device came to it.
#[derive(Clone)]
pub struct Epoch {
    url: String,
    /// Its history goes on from this one's.
    parent: Option<usize>,
    clocks: BTreeMap<Uuid, i64>,
    runs: BTreeSet<String>,
}

/// All servers so far, the last one being in charge.
pub type Epochs = Arc<Vec<Epoch>>;

/// A device and what its user would know.
pub struct Member {
    /// Whose it is.
    pub user: Uuid,
    /// The engine.
    pub device: EngineDevice,
    /// How often it was sent back to the beginning.
    pub resets: u32,
    /// How often although nothing was lost: the server had lost the run's own row.
    pub needless: u32,
    /// The sessions recorded on it, each with its minutes.
    recorded: BTreeMap<Uuid, i64>,
    given: Option<Given>,
    connection: Option<(usize, Client)>,
    random: Random,
}

/// Where the device's cursor comes from.
#[derive(Clone, Debug)]
struct Given {
    server: usize,
    run: String,
    clock: i64,
}

/// The devices, and the servers that they have met.
pub struct Fleet {
    /// The devices. Those of one user lie `users` apart.
    pub members: Vec<Member>,
    epochs: Epochs,
}

impl Fleet {
    /// New users with so many devices together, on a server that they know from now on.
    ///
    /// # Panics
    /// When the users cannot be made.
    pub async fn new(server: &Server, users: usize, devices: usize, random: &mut Random) -> Fleet {
        let users: Vec<Uuid> = (0..users).map(|_| new_id()).collect();
        for user in &users {
            server.execute(&[&format!("INSERT INTO public.users (id) VALUES ('{user}')")]).await;
        }
        let members =
            (0..devices).map(|n| Member::new(users[n % users.len()], Random::of_seed(random.bits())));
        let mut fleet = Fleet { members: members.collect(), epochs: Epochs::default() };
        fleet.moves_to(server, None).await;
        fleet
    }

    /// This server is in charge now; its history goes on from that of the server with this number, which by default is the last one.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn moves_to(&mut self, server: &Server, parent: Option<usize>) -> Epochs {
        let sql = server.sql().await;
        let clocks = sql.query("SELECT user_id, version FROM marea.clocks", &[]).await.expect("the clocks");
        let runs = sql.query("SELECT run FROM marea.runs", &[]).await.expect("the runs");
        let epoch = Epoch {
            url: server.url().to_owned(),
            parent: parent.or(self.epochs.len().checked_sub(1)),
            clocks: clocks.iter().map(|row| (row.get(0), row.get(1))).collect(),
            runs: runs.iter().map(|row| row.get(0)).collect(),
        };
        Arc::make_mut(&mut self.epochs).push(epoch);
        Arc::clone(&self.epochs)
    }

    /// Lets these devices record a session each, and sync.
    ///
    /// # Panics
    /// When one is not answered, or wrongly.
    pub async fn write(&mut self, devices: impl IntoIterator<Item = usize>) {
        for device in devices {
            self.members[device].record();
            self.members[device].sync(&self.epochs).await.expect("an answer");
        }
    }

    /// The servers so far.
    pub fn epochs(&self) -> Epochs {
        Arc::clone(&self.epochs)
    }

    /// How many devices have been sent back to the beginning, one of them twice counting twice.
    pub fn resets(&self) -> u32 {
        self.members.iter().map(|member| member.resets).sum()
    }

    /// All devices sync until nothing is new to any; then each shows what the server has, and that is everything that was recorded.
    ///
    /// # Panics
    /// When it is not.
    pub async fn all_is_there_once(&mut self, server: &Server) {
        // First everybody brings what is missing, then everybody gets what the others brought.
        for _ in 0..2 {
            for member in &mut self.members {
                member.sync(&self.epochs).await.expect("an answer");
                assert_eq!(member.device.pending(), 0);
            }
        }
        let sql = server.sql().await;
        let users: BTreeSet<Uuid> = self.members.iter().map(|member| member.user).collect();
        for user in users {
            let own = || self.members.iter().filter(|member| member.user == user);
            let recorded: BTreeMap<Uuid, i64> = own().flat_map(|member| member.recorded.clone()).collect();
            let query = "SELECT id, duration_minutes::bigint FROM public.sessions WHERE user_id = $1";
            let rows = sql.query(query, &[&user]).await.expect("the sessions");
            let there: BTreeMap<Uuid, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            assert_eq!(there, recorded, "what is there and what was recorded");
            let wanted = (recorded.len() as i64, recorded.values().sum::<i64>());
            let query = "SELECT total_sessions::bigint, total_time_spent_minutes::bigint FROM public.user_progress WHERE user_id = $1";
            let row = sql.query_opt(query, &[&user]).await.expect("the totals");
            assert_eq!(row.map_or((0, 0), |row| (row.get(0), row.get(1))), wanted, "what Postgres counts");
            for member in own() {
                let shown = member.device.progress();
                assert_eq!(
                    (shown.total_sessions, shown.total_time_spent_minutes),
                    wanted,
                    "what a device shows"
                );
            }
        }
    }
}

impl Member {
    fn new(user: Uuid, random: Random) -> Member {
        // By SQL nobody asks for a token.
        let device = EngineDevice::new(user.into(), "", at(NOON_MS));
        let (recorded, given, connection) = (BTreeMap::new(), None, None);
        Member { user, device, resets: 0, needless: 0, recorded, given, connection, random }
    }

    /// How many sessions were recorded on it.
    pub fn recorded(&self) -> usize {
        self.recorded.len()
    }

    /// Records a session.
    pub fn record(&mut self) {
        let minutes = self.random.within(1..=90);
        let duration_minutes = Some(i32::try_from(minutes).expect("a short session"));
        let session = SessionInput { duration_minutes, ..SessionInput::new("practice") };
        self.recorded.insert(*self.device.record(session).id.as_uuid(), minutes);
    }

    /// Syncs with the server in charge, which must send it back to the beginning exactly when it has seen what is gone.
    ///
    /// # Errors
    /// When the server is gone in the middle.
    ///
    /// # Panics
    /// When it is sent back and should not be, or the other way round.
    pub async fn sync(&mut self, epochs: &Epochs) -> Result<(), tokio_postgres::Error> {
        let now = epochs.len() - 1;
        let client = match self.connection.take() {
            Some((server, client)) if server == now && !client.is_closed() => client,
            _ => {
                let (client, connection) =
                    tokio_postgres::connect(&epochs[now].url, tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                try_act_as(&client, "authenticated", Some(self.user)).await?;
                client
            }
        };
        let (user, mut given) = (self.user, self.given.clone());
        let (mut resets, mut needless) = (0, 0);
        let heard = |answer: &SyncAnswer| {
            let (lost, unknown) = given.as_ref().map_or((false, false), |given| given.is_lost(user, epochs));
            assert_eq!(answer.reset, lost || unknown, "{given:?} of {user} at server {now}");
            resets += u32::from(answer.reset);
            needless += u32::from(answer.reset && !lost);
            given = Some(Given::of(answer, now));
        };
        let synced = self.device.sync_by_sql(&client, heard).await;
        self.given = given;
        self.resets += resets;
        self.needless += needless;
        self.connection = Some((now, client));
        synced
    }
}

impl Given {
    fn of(answer: &SyncAnswer, server: usize) -> Given {
        let mut parts = answer.cursor.epoch.split('.');
        let run = parts.next().expect("a run").to_owned();
        let clock = parts.next().and_then(|clock| clock.parse().ok()).expect("a clock");
        Given { server, run, clock }
    }

    /// Whether the state is gone in which the cursor was given out; and whether its run is unknown, so that nobody can tell.
    fn is_lost(&self, user: Uuid, epochs: &Epochs) -> (bool, bool) {
        let line = |server| std::iter::successors(Some(server), |server: &usize| epochs[*server].parent);
        let began_after = |server: usize| self.clock > epochs[server].clocks.get(&user).copied().unwrap_or(0);
        let now = epochs.len() - 1;
        // The last server that both histories have.
        let common = line(self.server).find(|server| line(now).any(|other| other == *server));
        let common = common.expect("all come from the first one");
        let of_both = |server: &usize| *server != common;
        let lost = line(self.server).take_while(of_both).any(began_after)
            || line(now).take_while(of_both).any(began_after);
        (lost, self.server != now && !epochs[now].runs.contains(&self.run))
    }
}

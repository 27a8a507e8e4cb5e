//! A device without a program around it: the engine in memory, the real transport, and a clock that the test sets.

use std::sync::Mutex;

use marea_core::{
    ActivityDay, Engine, Failure, Host, LocalDate, Location, Now, Progress, Recorded, SessionInput, Signal,
    SyncAnswer, SyncReport, SystemEntropy, Table, Transport, UnixMillis, UserId, sync_until_idle,
};
use tokio_postgres::Client;

pub use marea_worlds::fuzz::Counter;

/// One mirror, and all that its host would know.
pub struct EngineDevice {
    engine: Mutex<Engine>,
    now: Mutex<Now>,
    token: Mutex<String>,
}

impl EngineDevice {
    /// A new mirror in memory for this user, whose access token is `token`.
    pub fn new(user: UserId, token: impl Into<String>, now: Now) -> EngineDevice {
        let engine =
            Engine::open(&Location::Memory, user, Box::new(SystemEntropy::new()), now).expect("a mirror");
        EngineDevice { engine: Mutex::new(engine), now: Mutex::new(now), token: Mutex::new(token.into()) }
    }

    /// Sets the device's clock.
    pub fn set_now(&self, now: Now) {
        *self.now.lock().expect("no panic") = now;
    }

    /// Gives the device another access token.
    pub fn set_token(&self, token: impl Into<String>) {
        *self.token.lock().expect("no panic") = token.into();
    }

    /// Records a session.
    pub fn record(&self, session: SessionInput) -> Recorded {
        let now = self.now();
        self.with_engine(|engine| engine.mutate(session.into(), now)).expect("a valid session")
    }

    /// The visible progress.
    pub fn progress(&self) -> Progress {
        let now = self.now();
        self.with_engine(|engine| engine.progress(now)).expect("a readable mirror")
    }

    /// All visible days.
    pub fn days(&self) -> Vec<ActivityDay> {
        let day = |text: &str| text.parse::<LocalDate>().expect("a day");
        self.with_engine(|engine| engine.activity(day("1970-01-01"), day("9999-12-31")))
            .expect("a readable mirror")
    }

    /// How many mutations wait.
    pub fn pending(&self) -> u32 {
        let now = self.now();
        self.with_engine(|engine| engine.status(now)).expect("a readable mirror").pending
    }

    /// Syncs now, whatever the last failure planned.
    pub async fn sync(&self, transport: &Transport) -> SyncReport {
        let now = self.now();
        self.with_engine(|engine| engine.signal(Signal::SyncNow, now));
        sync_until_idle(self, transport).await.expect("a sound mirror")
    }

    /// The same by SQL, on a connection that acts as the device's user; `heard` is told of each answer before it is applied. The error is
    /// what came in place of the last one.
    ///
    /// # Panics
    /// When the server refuses a mutation.
    pub async fn sync_by_sql(
        &self,
        client: &Client,
        mut heard: impl FnMut(&SyncAnswer),
    ) -> Result<(), tokio_postgres::Error> {
        let now = self.now();
        self.with_engine(|engine| engine.signal(Signal::SyncNow, now));
        while let Some(outgoing) =
            self.with_engine(|engine| engine.next_request(now)).expect("a sound mirror")
        {
            let request = serde_json::to_value(&outgoing.request).expect("JSON");
            let answered = client.query_one("SELECT public.marea_sync($1)::text", &[&request]).await;
            let (outcome, failed) = match answered {
                Ok(row) => {
                    let answer: SyncAnswer = serde_json::from_str(row.get(0)).expect("an answer");
                    heard(&answer);
                    (Ok(answer), Ok(()))
                }
                Err(error) => (Err(Failure::ConnectionLost), Err(error)),
            };
            let applied = self
                .with_engine(|engine| engine.apply_response(outgoing.ticket, outcome, now))
                .expect("a sound mirror");
            assert_eq!(applied.rejected, 0, "the server refuses what it should take");
            failed?;
        }
        Ok(())
    }
}

impl Host for EngineDevice {
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        work(&mut self.engine.lock().expect("no panic"))
    }

    fn now(&self) -> Now {
        *self.now.lock().expect("no panic")
    }

    async fn access_token(&self, _fresh: bool) -> Option<String> {
        Some(self.token.lock().expect("no panic").clone())
    }

    fn changed(&self, _tables: &[Table]) {}

    /// Its clock is the test's: the time has passed.
    async fn pause(&self, ms: u64) -> bool {
        let mut now = self.now.lock().expect("no panic");
        now.unix_ms = now.unix_ms.plus_ms(ms);
        true
    }
}

/// A clock reading in UTC.
pub fn at(unix_ms: i64) -> Now {
    Now { unix_ms: UnixMillis(unix_ms), utc_offset_minutes: 0 }
}

//! Twenty devices write while one server after the other dies: by kill -9 in the middle of their pushes, with a standby that had caught
//! up, lagged, or forked, or with a tail of commits that were only in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use marea_tests::fleet::{Epochs, Fleet, Member};
use marea_tests::random::Random;
use marea_tests::standby::{Server, Servers};
use marea_tests::wait;
use tokio::sync::watch;
use tokio::task::JoinSet;

const DEVICES: usize = 20;
const USERS: usize = 5;
/// Sessions that each device records on each server, if the server lives so long.
const SESSIONS: usize = 6;

/// How a server ends and who comes after it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its standby receives all until the end, and may lack what was on its way.
    Following,
    /// Its standby was cut off before the last writes.
    Lagging,
    /// One standby takes over and dies; another one takes over from the state before that.
    Forked,
    /// It starts again, without the commits that were in memory only.
    Crashed,
}

const WAYS: [Way; 4] = [Way::Following, Way::Lagging, Way::Forked, Way::Crashed];

/// Fail-overs of a run. `MAREA_FAILOVERS` says otherwise.
fn failovers() -> usize {
    let given = std::env::var("MAREA_FAILOVERS").ok();
    given.map_or(WAYS.len(), |number| number.parse().expect("MAREA_FAILOVERS is a number"))
}

/// What the devices and the one who kills their servers share.
struct Scene {
    servers: Servers,
    fleet: Fleet,
    in_charge: watch::Sender<Epochs>,
    acknowledged: Arc<AtomicUsize>,
    random: Random,
    named: usize,
}

impl Scene {
    /// Lets the devices come to a server.
    async fn opens(&mut self, server: &Server, parent: Option<usize>) {
        let epochs = self.fleet.moves_to(server, parent).await;
        self.acknowledged.store(0, Ordering::SeqCst);
        self.in_charge.send_replace(epochs);
    }

    /// Waits until about so many percent of what the devices will write to this server is acknowledged.
    async fn wait_for(&mut self, percent: i64) {
        let some = usize::try_from(self.random.within(percent - 10..=percent + 10)).expect("a few");
        let wanted = DEVICES * SESSIONS * some / 100;
        let acknowledged = &self.acknowledged;
        wait::until("the devices write", || async { acknowledged.load(Ordering::SeqCst) >= wanted }).await;
    }

    async fn standby(&mut self, primary: &Server) -> Server {
        self.named += 1;
        self.servers.standby(&format!("standby{}", self.named), primary).await
    }

    /// One server ends in this way; gives the one that is in charge then.
    async fn fails_over(&mut self, way: Way, mut primary: Server) -> Server {
        let own = self.in_charge.borrow().len() - 1;
        self.wait_for(20).await;
        match way {
            Way::Following | Way::Lagging => {
                let standby = self.standby(&primary).await;
                if matches!(way, Way::Lagging) {
                    standby.cut_off().await;
                }
                self.wait_for(70).await;
                gone(primary).await;
                standby.promote().await;
                self.opens(&standby, None).await;
                standby
            }
            Way::Forked => {
                let (first, second) = (self.standby(&primary).await, self.standby(&primary).await);
                second.cut_off().await;
                self.wait_for(70).await;
                gone(primary).await;
                first.promote().await;
                self.opens(&first, None).await;
                self.wait_for(50).await;
                gone(first).await;
                second.promote().await;
                self.opens(&second, Some(own)).await;
                second
            }
            Way::Crashed => {
                primary.hold_commits().await;
                self.wait_for(70).await;
                let again = Server::start(primary.kill().await).await;
                again.execute(&["ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()"]).await;
                again.until("commits are on disk", "current_setting('synchronous_commit') = 'on'").await;
                self.opens(&again, None).await;
                again
            }
        }
    }
}

/// A server dies for good.
async fn gone(server: Server) {
    std::fs::remove_dir_all(server.kill().await).expect("the folder goes");
}

/// A device's life: on each server it records and syncs, until the last server has been taken away.
async fn live(
    mut member: Member,
    mut in_charge: watch::Receiver<Epochs>,
    acknowledged: Arc<AtomicUsize>,
) -> Member {
    loop {
        let epochs = in_charge.borrow_and_update().clone();
        for _ in 0..SESSIONS {
            member.record();
            if member.sync(&epochs).await.is_err() {
                break;
            }
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        if in_charge.changed().await.is_err() {
            return member;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_write_while_servers_die_lose_nothing_and_count_nothing_twice() {
    let mut random = Random::of_this_run("failovers");
    let servers = Servers::new().await;
    let mut primary = servers.primary("primary").await;
    let mut fleet = Fleet::new(&primary, USERS, DEVICES, &mut random).await;
    let (in_charge, watched) = watch::channel(fleet.epochs());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut lives = JoinSet::new();
    for member in std::mem::take(&mut fleet.members) {
        lives.spawn(live(member, watched.clone(), Arc::clone(&acknowledged)));
    }
    drop(watched);
    let mut scene = Scene { servers, fleet, in_charge, acknowledged, random, named: 0 };
    for way in WAYS.iter().cycle().take(failovers()) {
        primary = scene.fails_over(*way, primary).await;
    }
    let Scene { servers: _servers, mut fleet, in_charge, .. } = scene;
    drop(in_charge);
    fleet.members = lives.join_all().await;
    fleet.all_is_there_once(&primary).await;
    let needless: u32 = fleet.members.iter().map(|member| member.needless).sum();
    let recorded: usize = fleet.members.iter().map(Member::recorded).sum();
    eprintln!(
        "{} fail-overs, {recorded} sessions of {DEVICES} devices, {} resets, {needless} of them because a run's row was lost",
        failovers(),
        fleet.resets()
    );
    assert!(fleet.resets() > 0, "nothing was lost that anybody had seen");
    primary.stop().await;
}

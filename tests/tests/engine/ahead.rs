//! The next page is asked for while the last one is applied, on one thread: where the engine takes that thread, the request
//! has left already.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use marea_core::{
    Engine, Host, Location, Now, Outcome, SystemEntropy, Table, Transport, UserId, sync_until_idle,
};
use marea_tests::engine_device::at;
use marea_tests::small_server;
use serde_json::json;
use tokio::task::LocalSet;

/// 2025-11-23T12:00:00Z.
const NOON: i64 = 1_763_899_200_000;
const PAGES: usize = 5;
const USER: &str = "11111111-1111-4111-8111-111111111111";
/// The user's, and nobody's: nothing here verifies it.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

/// A server of so many pages, each with one export; says where it is, and of each request when it has come whole.
fn serve() -> (String, Receiver<usize>) {
    let (told, come) = channel();
    let last = AtomicUsize::new(0);
    let url = small_server::start(move || {
        let number = last.fetch_add(1, Ordering::SeqCst) + 1;
        // Who has seen all pages listens no more.
        let _ = told.send(number);
        let id = format!("018f9d3e-7a00-7000-8000-{number:012}");
        let values = json!({ "id": id, "export_type": "words", "export_format": "csv", "status": "pending",
                             "created_at": "2025-11-23T12:00:00.000000Z" });
        let body = json!({
            "protocol": 1, "server_time": "2025-11-23T12:00:00.000000Z", "results": [],
            "rows": { "export_history": [{ "values": values, "hlc": {}, "version": number }] },
            "cursor": { "version": number, "epoch": "e" }, "has_more": number < PAGES,
        });
        body.to_string().into_bytes()
    });
    (url, come)
}

struct OneThread {
    engine: RefCell<Engine>,
    come: Receiver<usize>,
    seen: Cell<usize>,
    applied: Cell<usize>,
    tokens: Cell<usize>,
}

impl Host for OneThread {
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        work(&mut self.engine.borrow_mut())
    }

    fn now(&self) -> Now {
        at(NOON)
    }

    async fn access_token(&self, _fresh: bool) -> Option<String> {
        self.tokens.set(self.tokens.get() + 1);
        // Not at once, as from an app that looks for it.
        tokio::task::yield_now().await;
        Some(TOKEN.to_owned())
    }

    /// Called when a page was applied. This thread, which the connection would need too, goes nowhere until the request for
    /// the next page has come to the server.
    fn changed(&self, _tables: &[Table]) {
        self.applied.set(self.applied.get() + 1);
        let wanted = (self.applied.get() + 1).min(PAGES);
        while self.seen.get() < wanted {
            let come = self.come.recv_timeout(Duration::from_secs(20));
            self.seen.set(come.unwrap_or_else(|_| panic!("page {wanted} was not asked for ahead")));
        }
    }
}

#[test]
fn the_next_page_is_asked_for_before_the_engine_takes_the_thread() {
    let user: UserId = USER.parse().expect("a UUID");
    let (url, come) = serve();
    let engine = Engine::open(&Location::Memory, user, Box::new(SystemEntropy::new()), at(NOON));
    let engine = RefCell::new(engine.expect("a mirror"));
    let (seen, applied, tokens) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let host = OneThread { engine, come, seen, applied, tokens };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // As the desktop client does it: the loop is a task of a `LocalSet`, the connection one of the runtime.
    let report = LocalSet::new().block_on(&runtime, async move {
        let task = tokio::task::spawn_local(async move {
            let transport = Transport::new(&url, "key").expect("an address");
            let report = sync_until_idle(&host, &transport).await.expect("a sound mirror");
            assert_eq!(host.tokens.get(), 1, "a token is young for more than one page");
            report
        });
        task.await.expect("no panic")
    });
    assert_eq!((report.outcome, report.pulled as usize), (Outcome::Done, PAGES));
}

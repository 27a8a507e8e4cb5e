//! A large table of the app is mirrored while its users write to it: what that costs each of their statements, and how long any of them waits
//! for a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Figure, Spread, now, percentile};
use crate::cluster::{Cluster, Database};

const USERS: u32 = 1_000;
const WRITERS: u64 = 4;
/// Writes by themselves, before anything is mirrored.
const QUIET: Duration = Duration::from_secs(5);

/// So many rows of a thousand users, mirrored by `marea.mirror` and `CALL marea.mirror_existing`.
///
/// # Panics
/// When a statement is refused.
pub async fn figures(rows: u32) -> Vec<Figure> {
    let cluster = Cluster::start().await;
    let database = cluster.database("bench_existing", u32::MAX).await;
    let each = rows / USERS;
    let made = format!(
        "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, {USERS});
         CREATE TABLE public.bench_words (
             id UUID PRIMARY KEY DEFAULT gen_random_uuid(), user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
             n INTEGER NOT NULL, word TEXT NOT NULL, times_seen INTEGER NOT NULL DEFAULT 0, due_on DATE, extra JSONB);
         INSERT INTO public.bench_words (user_id, n, word, due_on)
             SELECT u.id, n, 'palabra ' || n, '2026-12-01' FROM public.users AS u, generate_series(1, {each}) AS n;
         CREATE INDEX ON public.bench_words (user_id, n);
         ALTER TABLE public.bench_words ENABLE ROW LEVEL SECURITY;
         CREATE POLICY bench_words_own ON public.bench_words TO authenticated USING (user_id = (SELECT auth.uid()));
         GRANT ALL ON public.bench_words TO authenticated"
    );
    for statement in made.split(';') {
        database.execute(statement).await;
    }
    database.execute("VACUUM ANALYZE").await;

    let quiet = while_writing(&database, each, async {
        tokio::time::sleep(QUIET).await;
        Duration::ZERO
    });
    let (quiet, _) = quiet.await;
    let waits = Waits::watch(&database).await;
    let (seen, took) = while_writing(&database, each, async {
        let begun = now();
        database.sql(&["SELECT marea.mirror('public.bench_words')"]).await.succeeds();
        database.sql(&["CALL marea.mirror_existing('public.bench_words')"]).await.succeeds();
        begun.elapsed()
    })
    .await;
    let longest = waits.longest().await;
    let left = "SELECT count(*) FROM public.bench_words AS t WHERE NOT EXISTS (SELECT FROM marea.rows AS r
        WHERE r.user_id = t.user_id AND r.table_name = 'bench_words' AND r.row_key = t.id::text AND r.version IS NOT NULL)";
    assert_eq!(database.text(left).await, "0", "each row has a version");
    cluster.stop().await;

    vec![
        Figure {
            what: format!("longest wait for a lock while {rows} rows of {USERS} users are mirrored"),
            baseline: format!(
                "{WRITERS} writers by themselves: p50 {:.2} ms, p99 {:.2} ms, slowest statement {:.0} ms",
                percentile(&quiet, 50),
                percentile(&quiet, 99),
                percentile(&quiet, 100)
            ),
            bar: "none".into(),
            passed: true,
            measured: Spread::of("ms", [longest]),
            how: format!(
                "pg_locks.waitstart of all sessions, looked at all the time; meanwhile {} statements of the writers, each a transaction \
                 that inserts or updates a row: p50 {:.2} ms, p99 {:.2} ms, slowest {:.0} ms",
                seen.len(),
                percentile(&seen, 50),
                percentile(&seen, 99),
                percentile(&seen, 100)
            ),
        },
        Figure {
            what: format!("marea.mirror and marea.mirror_existing of {rows} rows"),
            baseline: "none".into(),
            bar: "none".into(),
            passed: true,
            measured: Spread::of("rows/s", [f64::from(rows) / took.as_secs_f64()]),
            how: format!(
                "{:.1} s beside the writers, batches of 1,000, each a transaction",
                took.as_secs_f64()
            ),
        },
    ]
}

/// Runs something while users write: how long each of their statements took, shortest first.
async fn while_writing<T>(
    database: &Database,
    each: u32,
    work: impl Future<Output = T>,
) -> (Vec<Duration>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = database.connect().await;
        let stop = Arc::clone(&stop);
        let task: JoinHandle<Vec<Duration>> = tokio::spawn(async move {
            let users = client.query("SELECT id FROM public.users ORDER BY id", &[]).await.expect("users");
            let users: Vec<uuid::Uuid> = users.iter().map(|row| row.get(0)).collect();
            let update =
                "UPDATE public.bench_words SET times_seen = times_seen + 1 WHERE user_id = $1 AND n = $2";
            let insert = "INSERT INTO public.bench_words (user_id, n, word) VALUES ($1, $2, 'nueva')";
            let (update, insert) =
                (client.prepare(update).await.expect("SQL"), client.prepare(insert).await.expect("SQL"));
            let (mut n, mut times) = (writer * 7_919, Vec::new());
            while !stop.load(Ordering::SeqCst) {
                n += 104_729;
                let user = users[(n % users.len() as u64) as usize];
                let row = (n / 1_000 % u64::from(each)) as i32 + 1;
                let statement = if n % 4 == 0 { &insert } else { &update };
                let begun = now();
                client.execute(statement, &[&user, &row]).await.expect("a write");
                times.push(begun.elapsed());
            }
            times
        });
        writers.push(task);
    }
    let done = work.await;
    stop.store(true, Ordering::SeqCst);
    let mut times = Vec::new();
    for writer in writers {
        times.extend(writer.await.expect("a writer that was served"));
    }
    times.sort_unstable();
    (times, done)
}

/// Looks at who waits for a lock, again and again.
struct Waits {
    stop: Arc<AtomicBool>,
    longest: JoinHandle<f64>,
}

impl Waits {
    async fn watch(database: &Database) -> Waits {
        let client = database.connect().await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let longest = tokio::spawn(async move {
            let waiting =
                "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)) * 1000, 0)::float8
                FROM pg_locks WHERE NOT granted";
            let waiting = client.prepare(waiting).await.expect("SQL");
            let mut longest: f64 = 0.0;
            while !stopped.load(Ordering::SeqCst) {
                longest = longest.max(client.query_one(&waiting, &[]).await.expect("locks").get(0));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        });
        Waits { stop, longest }
    }

    async fn longest(self) -> f64 {
        self.stop.store(true, Ordering::SeqCst);
        self.longest.await.expect("a watcher that was served")
    }
}

//! One learner's work: a push of 1,000 sessions, one of 1,000 rows of a mirrored table, what the completion trigger adds to each session, a
//! full page. Straight to Postgres, as the learner, without waiting for the disk: that wait is the same with and without Marea.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::{Figure, Rounds, Spread};
use crate::cluster::Cluster;
use crate::random::Random;

const ROUNDS: usize = 15;
const PUSHED: usize = 1_000;
const AT_ONCE: usize = 500;
const SINGLE: u32 = 200;

/// A table with the columns, defaults, checks and indexes of `sessions`, and no trigger of any kind.
const BARE: &str = "CREATE TABLE public.bench_sessions (LIKE public.sessions INCLUDING ALL)";

/// A mirrored table with a column of most kinds, and one like it that is not mirrored.
const WORDS: &str = "
    CREATE TABLE public.bench_words (
        id UUID PRIMARY KEY, user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE, word TEXT NOT NULL, translation TEXT,
        level TEXT, times_seen INTEGER NOT NULL DEFAULT 0, ease REAL, due_on DATE, extra JSONB, updated_at TIMESTAMPTZ);
    CREATE TABLE public.bench_bare_words (LIKE public.bench_words INCLUDING ALL);
    ALTER TABLE public.bench_words ENABLE ROW LEVEL SECURITY;
    CREATE POLICY bench_words_own ON public.bench_words TO authenticated USING (user_id = (SELECT auth.uid()));
    GRANT ALL ON public.bench_words TO authenticated;
    SELECT marea.mirror('public.bench_words', rules => '{\"times_seen\": \"counter\"}')";

/// All four figures.
pub async fn figures() -> Vec<Figure> {
    let cluster = Cluster::start().await;
    let database = cluster.database("bench_single", u32::MAX).await;
    database
        .execute(&format!(
            "SET synchronous_commit = off; {BARE}; GRANT ALL ON public.bench_sessions TO authenticated"
        ))
        .await;
    let client = &database.client;
    database.execute(WORDS).await;
    let figures =
        vec![push(client).await, push_rows(client).await, completion(client).await, page(client).await];
    cluster.stop().await;
    figures
}

async fn new_user(client: &Client) -> Uuid {
    let statement = "INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id";
    client.query_one(statement, &[]).await.expect("a learner").get(0)
}

/// The request of a device with this many new sessions.
fn request(random: &mut Random, begin: usize) -> Value {
    let mutations: Vec<Value> = (begin..begin + AT_ONCE)
        .map(|n| {
            let id = random.uuid();
            let minute = n % 60;
            let day = 1 + n * 30 / PUSHED;
            json!({ "id": id, "hlc": format!("{:013}-0000", 1_790_000_000_000_u64 + n as u64), "table": "sessions",
                "op": "insert", "key": id, "values": {
                    "id": id, "session_type": "qa", "started_at": format!("2026-10-{day:02}T10:{minute:02}:00.000000Z"),
                    "ended_at": format!("2026-10-{day:02}T10:{minute:02}:30.000000Z"), "duration_minutes": 7,
                    "images_processed": 1, "descriptions_generated": 2, "qa_attempts": 10, "qa_correct": 8,
                    "vocabulary_learned": 3, "phrases_saved": 0,
                    "session_data": { "local_date": format!("2026-10-{day:02}") } } })
        })
        .collect();
    json!({ "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1, "cursor": null, "limit": 500,
            "mutations": mutations })
}

/// The request of a device with this many new rows of the mirrored table.
fn request_of_rows(random: &mut Random, begin: usize) -> Value {
    let mutations: Vec<Value> = (begin..begin + AT_ONCE)
        .map(|n| {
            json!({ "id": random.uuid(), "hlc": format!("{:013}-0000", 1_790_000_000_000_u64 + n as u64), "table": "bench_words",
                "op": "insert", "key": random.uuid(), "values": {
                    "word": format!("palabra {n}"), "translation": format!("word {n}"), "level": "b1", "times_seen": 0, "ease": 2.5,
                    "due_on": "2026-12-01", "extra": { "list": n % 7 }, "updated_at": "2026-11-30T00:00:00.000000Z" } })
        })
        .collect();
    json!({ "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1, "cursor": null, "limit": 500,
            "packed": true, "mutations": mutations })
}

/// A push of 1,000 rows of a mirrored table, against the same rows into a table that is not mirrored. A new device asks for them back, so
/// that the page is in the time as well.
async fn push_rows(client: &Client) -> Figure {
    let bare = "INSERT INTO public.bench_bare_words (id, user_id, word, translation, level, times_seen, ease, due_on, extra, updated_at)
        SELECT (m ->> 'key')::uuid, $2, v.word, v.translation, v.level, v.times_seen, v.ease, v.due_on, v.extra, v.updated_at
        FROM jsonb_array_elements($1::jsonb -> 'mutations') AS m,
             LATERAL jsonb_populate_record(NULL::public.bench_words, m -> 'values') AS v";
    let bare = client.prepare(bare).await.expect("the bare statement");
    alternate(client, &bare, request_of_rows).await.figure(
        &format!("push of {PUSHED} new rows of a mirrored table, answer with its page included"),
        "bare INSERT ... SELECT of the same JSON, no trigger, no foreign key",
        3.0,
        "two calls of marea_sync with 500 rows each, as the learner, against two inserts; synchronous_commit off on both sides",
    )
}

async fn push(client: &Client) -> Figure {
    let bare = "INSERT INTO public.bench_sessions (id, user_id, session_type, started_at, ended_at, duration_minutes,
            images_processed, descriptions_generated, qa_attempts, qa_correct, vocabulary_learned, phrases_saved,
            session_data)
        SELECT v.id, $2, v.session_type, v.started_at, v.ended_at, v.duration_minutes, v.images_processed,
               v.descriptions_generated, v.qa_attempts, v.qa_correct, v.vocabulary_learned, v.phrases_saved, v.session_data
        FROM jsonb_array_elements($1::jsonb -> 'mutations') AS m,
             LATERAL jsonb_populate_record(NULL::public.sessions, m -> 'values') AS v";
    let bare = client.prepare(bare).await.expect("the bare statement");
    alternate(client, &bare, request).await.figure(
        &format!("push of {PUSHED} new sessions of one learner, answer included"),
        "bare INSERT ... SELECT of the same JSON, no trigger, no foreign key",
        3.0,
        "two calls of marea_sync with 500 sessions each, as the learner, against two inserts; synchronous_commit off on both sides",
    )
}

/// Requests of new learners, each by a bare statement and by a sync.
async fn alternate(client: &Client, bare: &Statement, request: fn(&mut Random, usize) -> Value) -> Rounds {
    let mut random = Random::of_seed(1);
    let sync = client.prepare("SELECT public.marea_sync($1)").await.expect("marea_sync");
    let mut rounds = Rounds::new();
    for round in 0..=ROUNDS {
        let user = new_user(client).await;
        let requests: Vec<Value> = (0..PUSHED).step_by(AT_ONCE).map(|n| request(&mut random, n)).collect();
        let mut baseline = Duration::ZERO;
        for request in &requests {
            let started = super::now();
            client.execute(bare, &[request, &user]).await.expect("a bare insert");
            baseline += started.elapsed();
        }
        become_learner(client, user).await;
        let mut subject = Duration::ZERO;
        for request in &requests {
            let started = super::now();
            let answer: Value = client.query_one(&sync, &[request]).await.expect("a sync").get(0);
            subject += started.elapsed();
            assert_eq!(answer["results"][0]["status"], "applied");
        }
        client.batch_execute("RESET ROLE").await.expect("the superuser again");
        if round > 0 {
            rounds.add(baseline, subject); // the first one warms up
        }
    }
    rounds
}

async fn become_learner(client: &Client, user: Uuid) {
    let statement = format!(
        "SET ROLE authenticated;
         SELECT set_config('request.jwt.claims', '{{\"sub\": \"{user}\", \"role\": \"authenticated\"}}', false)"
    );
    client.batch_execute(&statement).await.expect("the learner's role");
}

/// What the triggers add to a session that is inserted completed, and to one that is completed by an UPDATE.
async fn completion(client: &Client) -> Figure {
    let user = new_user(client).await;
    let past = format!(
        "INSERT INTO public.sessions (user_id, ended_at, duration_minutes, qa_attempts, qa_correct)
         SELECT '{user}', timestamptz '2026-10-01' - n * interval '8 hours', 10, 10, 7 FROM generate_series(1, 1000) AS n"
    );
    client.batch_execute(&past).await.expect("a learner's past");
    let mut added_ms = Vec::new();
    let (mut plain, mut with) = (Duration::ZERO, Duration::ZERO);
    for round in 0..=ROUNDS {
        let mut times = [Duration::ZERO; 2];
        for (table, time) in ["bench_sessions", "sessions"].into_iter().zip(&mut times) {
            let insert =
                format!("INSERT INTO public.{table} (user_id, session_type) VALUES ($1, 'qa') RETURNING id");
            let complete = format!(
                "UPDATE public.{table} SET ended_at = timestamptz '2026-10-02' + $2::int * interval '1 minute',
                     duration_minutes = 10, qa_attempts = 10, qa_correct = 7 WHERE id = $1"
            );
            let insert = client.prepare(&insert).await.expect("an insert");
            let complete = client.prepare(&complete).await.expect("a completion");
            let mut open: Vec<Uuid> = Vec::new();
            for _ in 0..SINGLE {
                open.push(client.query_one(&insert, &[&user]).await.expect("a session").get(0));
            }
            let started = super::now();
            for (n, id) in (1_i32..).zip(&open) {
                client.execute(&complete, &[id, &n]).await.expect("its completion");
            }
            *time = started.elapsed() / SINGLE;
        }
        if round > 0 {
            added_ms.push(super::millis(times[1].saturating_sub(times[0])));
            plain += times[0];
            with += times[1];
        }
    }
    let measured = Spread::of("ms", added_ms);
    let mean = |total: Duration| super::millis(total) / ROUNDS as f64;
    Figure {
        what: "session completion trigger, per session".into(),
        baseline: "the same UPDATE on a table without triggers".into(),
        bar: "< 10 ms, aim 0.3 ms".into(),
        passed: measured.median < 10.0,
        measured,
        how: format!(
            "{SINGLE} sessions a round, each completed by its own transaction, of a learner with 1,000 past sessions; the \
             difference per session, versions included; {:.3} ms against {:.3} ms",
            mean(with),
            mean(plain)
        ),
    }
}

/// A page of 2,000 exports out of 20,000, as the text that leaves Postgres, against the rows themselves as text.
async fn page(client: &Client) -> Figure {
    let user = new_user(client).await;
    let exports = format!(
        "INSERT INTO public.export_history (user_id, export_type, export_format, status, records_count, file_size_bytes, file_url)
         SELECT '{user}', 'progress', 'csv', 'completed', n, n * 1000, 'https://example.com/exports/' || n
         FROM generate_series(1, 20000) AS n;
         VACUUM ANALYZE public.export_history; VACUUM ANALYZE marea.rows"
    );
    for statement in exports.split(';') {
        client.batch_execute(statement).await.expect("a learner's exports");
    }
    become_learner(client, user).await;
    let sync = client.prepare("SELECT public.marea_sync($1)::text").await.expect("marea_sync");
    let rows = "SELECT string_agg(e::text, ',') FROM (SELECT * FROM public.export_history LIMIT 2000) AS e";
    let rows = client.prepare(rows).await.expect("the rows");
    let mut request = json!({ "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1, "cursor": null,
                              "limit": 2000, "packed": true, "mutations": [] });
    let mut rounds = Rounds::new();
    for round in 0..=ROUNDS {
        let started = super::now();
        let text: String = client.query_one(&rows, &[]).await.expect("rows").get(0);
        let baseline = started.elapsed();
        assert!(text.len() > 100_000);
        let started = super::now();
        let answer: String = client.query_one(&sync, &[&request]).await.expect("a page").get(0);
        let subject = started.elapsed();
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let packed = answer["packed"]["export_history"].as_str().expect("packed exports");
        let packed: Value = serde_json::from_str(packed).expect("JSON");
        assert_eq!(packed["id"].as_array().map_or(0, Vec::len), 2000);
        if round > 0 {
            rounds.add(baseline, subject);
        }
        request["cursor"] = if answer["has_more"] == true { answer["cursor"].clone() } else { Value::Null };
    }
    client.batch_execute("RESET ROLE").await.expect("the superuser again");
    let measured = Spread::of("ms", rounds.subject_ms.iter().copied());
    Figure {
        what: "a page of 2,000 exports out of 20,000".into(),
        baseline: "the same rows as plain text".into(),
        bar: "<= 20 ms".into(),
        passed: measured.median <= 20.0,
        measured,
        how: format!(
            "marea_sync as the learner, packed as every client asks for it, the answer as text included, page after page; {:.1} x",
            rounds.ratios().median
        ),
    }
}

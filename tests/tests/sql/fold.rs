//! Session completion, by the triggers of 001 alone and with the sync layer: counted once however a session gets
//! completed, corrections by their difference, days and streaks of the learner. The whole fold, column by column and
//! over random histories, is compared with Rust's elsewhere; here are the cases that have a name.

use marea_tests::backend::connect;
use marea_tests::cluster::{Cluster, Database};
use marea_tests::random::Random;
use serde_json::{Value, json};

/// Everything that the fold makes.
const STATE: &str = "SELECT md5(concat(
    (SELECT string_agg((to_jsonb(p) - 'updated_at')::text, ',' ORDER BY user_id) FROM public.user_progress AS p),
    (SELECT string_agg(d::text, ',' ORDER BY user_id, day) FROM marea.daily_activity AS d)))";

const LEARNER: &str = "00000000-0000-4000-8000-000000000001";

/// What is done to the sessions of the learner, and what progress must say then.
struct Case {
    name: &'static str,
    done: &'static [&'static str],
    expected: Value,
}

fn cases() -> Vec<Case> {
    let case = |name, done, expected| Case { name, done, expected };
    vec![
        case(
            "inserted completed",
            &["insert a 2026-06-01 {\"qa_attempts\": 3, \"qa_correct\": 2, \"duration_minutes\": 7}"],
            json!({ "total_sessions": 1, "total_questions_answered": 3, "total_questions_correct": 2, "average_accuracy": 66.67,
                "total_time_spent_minutes": 7, "average_completion_time_seconds": 420, "current_streak_days": 1 }),
        ),
        case(
            "three of one day, the latest one first",
            &[
                "insert a 2026-06-01T15:00 {\"qa_attempts\": 2, \"qa_correct\": 2, \"vocabulary_learned\": 4, \"duration_minutes\": 10}",
                "insert b 2026-06-01T09:00 {\"qa_attempts\": 4, \"qa_correct\": 1, \"vocabulary_learned\": 3, \"descriptions_generated\": 1}",
                "insert c 2026-06-01T08:00 {\"qa_attempts\": 1, \"qa_correct\": 1, \"vocabulary_learned\": 1, \"descriptions_generated\": 2, \"images_processed\": 5}",
            ],
            json!({ "total_sessions": 3, "total_questions_answered": 7, "total_questions_correct": 4, "average_accuracy": 57.14,
                "total_vocabulary_learned": 8, "total_descriptions": 3, "total_images": 5, "total_time_spent_minutes": 10,
                "average_completion_time_seconds": 200, "last_activity_at": "2026-06-01T15:00:00+00:00",
                "last_qa_session_at": "2026-06-01T15:00:00+00:00", "last_vocabulary_practice_at": "2026-06-01T15:00:00+00:00",
                "last_description_at": "2026-06-01T09:00:00+00:00", "current_streak_days": 1, "longest_streak_days": 1 }),
        ),
        case(
            "completed later",
            &["open a", "complete a 2026-06-01", "complete a 2026-06-01"],
            json!({ "total_sessions": 1, "current_streak_days": 1, "last_active_on": "2026-06-01" }),
        ),
        case(
            "never completed",
            &["open a"],
            json!({ "total_sessions": 0, "current_streak_days": 0, "last_active_on": null }),
        ),
        case(
            "metrics that are NULL or negative",
            &[
                "insert a 2026-06-01 {\"qa_attempts\": null, \"duration_minutes\": -5, \"images_processed\": -1}",
            ],
            json!({ "total_sessions": 1, "total_questions_answered": 0, "average_accuracy": 0, "total_time_spent_minutes": 0, "total_images": 0 }),
        ),
        case(
            "corrected metrics",
            &[
                "insert a 2026-06-01 {\"qa_attempts\": 3, \"qa_correct\": 3}",
                "set a qa_correct = 0",
                "set a qa_attempts = 8",
            ],
            json!({ "total_questions_answered": 8, "total_questions_correct": 0, "average_accuracy": 0, "total_sessions": 1 }),
        ),
        case(
            "more correct than answered",
            &["insert a 2026-06-01 {\"qa_attempts\": 1, \"qa_correct\": 9}"],
            json!({ "average_accuracy": 100 }),
        ),
        case(
            "a corrected end moves the day and the streak",
            &["insert a 2026-06-01", "insert b 2026-06-02", "insert c 2026-06-03", "complete b 2026-06-07"],
            json!({ "total_sessions": 3, "current_streak_days": 1, "longest_streak_days": 1, "last_active_on": "2026-06-07",
                "last_activity_at": "2026-06-07T12:00:00+00:00" }),
        ),
        case(
            "the latest is corrected to an earlier end",
            &["insert a 2026-06-01", "insert b 2026-06-09", "complete b 2026-06-02"],
            json!({ "last_activity_at": "2026-06-02T12:00:00+00:00", "current_streak_days": 2, "last_active_on": "2026-06-02" }),
        ),
        case(
            "reopened",
            &[
                "insert a 2026-06-01 {\"vocabulary_learned\": 4}",
                "insert b 2026-06-02 {\"vocabulary_learned\": 5}",
                "set b ended_at = NULL",
            ],
            json!({ "total_sessions": 1, "total_vocabulary_learned": 4, "last_active_on": "2026-06-01",
                "last_vocabulary_practice_at": "2026-06-01T12:00:00+00:00" }),
        ),
        case(
            "deleted",
            &["insert a 2026-06-01", "insert b 2026-06-02", "delete a"],
            json!({ "total_sessions": 1, "longest_streak_days": 1 }),
        ),
        case(
            "all deleted",
            &["insert a 2026-06-01 {\"qa_attempts\": 1}", "delete a"],
            json!({ "total_sessions": 0, "last_activity_at": null, "last_qa_session_at": null, "last_active_on": null,
                "current_streak_days": 0, "longest_streak_days": 0, "average_completion_time_seconds": 0 }),
        ),
        case(
            "out of order",
            &["insert a 2026-06-03", "insert b 2026-06-01", "insert c 2026-06-02"],
            json!({ "current_streak_days": 3, "longest_streak_days": 3, "last_active_on": "2026-06-03" }),
        ),
        case(
            "a gap",
            &["insert a 2026-06-01", "insert b 2026-06-02", "insert c 2026-06-04"],
            json!({ "current_streak_days": 1, "longest_streak_days": 2 }),
        ),
        case(
            "a gap that is filled",
            &["insert a 2026-06-01", "insert c 2026-06-03", "insert b 2026-06-02"],
            json!({ "current_streak_days": 3, "longest_streak_days": 3 }),
        ),
        case(
            "two on one day, one of them gone",
            &["insert a 2026-06-01", "insert b 2026-06-01", "delete a"],
            json!({ "total_sessions": 1, "current_streak_days": 1 }),
        ),
        case(
            "the learner's day, not the server's",
            &["insert a 2026-06-01 {\"session_data\": {\"local_date\": \"2026-05-31\"}}"],
            json!({ "last_active_on": "2026-05-31", "last_activity_at": "2026-06-01T12:00:00+00:00" }),
        ),
        case(
            "days that are none",
            &[
                "insert a 2026-06-01 {\"session_data\": {\"local_date\": \"2026-02-30\"}}",
                "insert b 2026-06-02 {\"session_data\": \"text\"}",
                "insert c 2026-06-03 {\"session_data\": {\"local_date\": [1]}}",
                "insert d 2026-06-04 {\"session_data\": null}",
                "insert e 2026-06-05 {\"session_data\": {\"local_date\": \"1969-12-31\"}}",
            ],
            json!({ "current_streak_days": 5, "last_active_on": "2026-06-05" }),
        ),
        case(
            "moved to another learner and back",
            &["insert a 2026-06-01", "move a", "back a"],
            json!({ "total_sessions": 1 }),
        ),
        case(
            "moved to another learner",
            &["insert a 2026-06-01", "insert b 2026-06-02", "move a"],
            json!({ "total_sessions": 1, "longest_streak_days": 1 }),
        ),
        case(
            "several by one statement",
            &["many 2026-06-01 10"],
            json!({ "total_sessions": 10, "current_streak_days": 10, "longest_streak_days": 10 }),
        ),
        case(
            "several changed by one statement",
            &[
                "many 2026-06-01 10",
                "set * duration_minutes = 3",
                "set * ended_at = ended_at + interval '1 day'",
            ],
            json!({ "total_sessions": 10, "total_time_spent_minutes": 30, "current_streak_days": 10, "last_active_on": "2026-06-11" }),
        ),
        case(
            "an end that lies on no day",
            &["set * duration_minutes = 1", "insert a 2026-06-01", "infinite b"],
            json!({ "total_sessions": 1 }),
        ),
    ]
}

/// One word of a case as SQL. Sessions are called by a letter.
fn sql(step: &str, other: &str) -> String {
    let (verb, rest) = step.split_once(' ').expect("a verb");
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let whose = format!("user_id = '{LEARNER}'");
    let which = if name == "*" {
        whose.clone()
    } else {
        format!("session_type = '{name}' AND (user_id IN ('{LEARNER}', '{other}'))")
    };
    match verb {
        "open" => format!("INSERT INTO public.sessions (user_id, session_type) VALUES ('{LEARNER}', '{name}')"),
        "insert" => {
            let (day, columns) = rest.split_once(' ').unwrap_or((rest, "{}"));
            let at = if day.contains('T') { format!("{day}Z") } else { format!("{day}T12:00Z") };
            let columns: Value = serde_json::from_str(columns).expect("columns");
            let columns = columns.as_object().expect("columns");
            let names: String = columns.keys().map(|name| format!(", {name}")).collect();
            let values: String = columns.keys().map(|name| format!(", v.{name}")).collect();
            let json = Value::Object(columns.clone()).to_string();
            format!("INSERT INTO public.sessions (user_id, session_type, ended_at{names}) SELECT '{LEARNER}', '{name}', '{at}'{values}
                FROM jsonb_populate_record(NULL::public.sessions, '{json}') AS v")
        }
        "many" => format!("INSERT INTO public.sessions (user_id, session_type, ended_at)
            SELECT '{LEARNER}', 'n' || n, '{name}T12:00Z'::timestamptz + n * interval '1 day' FROM generate_series(0, {rest} - 1) AS n"),
        "complete" => format!("UPDATE public.sessions SET ended_at = '{rest}T12:00Z' WHERE {which}"),
        "infinite" => format!("INSERT INTO public.sessions (user_id, session_type, ended_at) VALUES ('{LEARNER}', '{name}', 'infinity')"),
        "set" => format!("UPDATE public.sessions SET {rest} WHERE {which}"),
        "move" => format!("UPDATE public.sessions SET user_id = '{other}' WHERE {which}"),
        "back" => format!("UPDATE public.sessions SET user_id = '{LEARNER}' WHERE {which}"),
        "delete" => format!("DELETE FROM public.sessions WHERE {which}"),
        verb => panic!("{verb}?"),
    }
}

async fn play_cases(database: &Database) {
    let other = "00000000-0000-4000-8000-000000000002";
    for case in cases() {
        database
            .execute(&format!(
                "DELETE FROM public.users; INSERT INTO public.users (id) VALUES ('{LEARNER}'), ('{other}')"
            ))
            .await;
        for step in case.done {
            database.execute(&sql(step, other)).await;
        }
        let found = database
            .text(&format!("SELECT to_jsonb(p) FROM public.user_progress AS p WHERE user_id = '{LEARNER}'"))
            .await;
        let found: Value =
            if found.is_empty() { json!({}) } else { serde_json::from_str(&found).expect("JSON") };
        for (column, expected) in case.expected.as_object().expect("columns") {
            let is_same = match (found.get(column).and_then(Value::as_f64), expected.as_f64()) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                // Without any completed session there need not be a row.
                (None, expected) if found == json!({}) => expected.is_none_or(|number| number == 0.0),
                _ => found.get(column) == Some(expected),
            };
            assert!(is_same, "{}: {column} is {}, not {expected}", case.name, found[column]);
        }
        if database.text("SELECT to_regproc('marea.refold') IS NOT NULL").await == "true" {
            let kept = database.text(STATE).await;
            database
                .execute("SELECT marea.refold((SELECT array_agg(user_id) FROM public.user_progress))")
                .await;
            assert_eq!(
                database.text(STATE).await,
                kept,
                "{}: a fold from nothing gives another one",
                case.name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trigger_of_001_folds_every_case() {
    let cluster = Cluster::start().await;
    play_cases(&cluster.database("fold_001", 1).await).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_triggers_fold_every_case_and_random_ones_like_a_fold_from_nothing() {
    let cluster = Cluster::start().await;
    folds_like_a_fold_from_nothing(&cluster.database("fold_newest", u32::MAX).await).await;
    cluster.stop().await;
}

async fn folds_like_a_fold_from_nothing(database: &Database) {
    play_cases(database).await;

    let mut random = Random::of_this_run("sql_fold");
    database.execute("DELETE FROM public.users; INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 8)").await;
    for _ in 0..150 {
        database.execute(&random_statement(&mut random)).await;
    }
    let kept = database.text(STATE).await;
    assert!(
        database.text("SELECT sum(facts) FROM marea.daily_activity").await.parse::<i64>().expect("facts")
            > 20
    );
    // Nobody's row is changed by folding everything from nothing, and the broken one is mended.
    assert_eq!(database.text("SELECT marea.refold((SELECT array_agg(id) FROM public.users))").await, "0");
    assert_eq!(database.text(STATE).await, kept);
    database
        .execute(
            "UPDATE public.user_progress SET total_sessions = total_sessions + 1, longest_streak_days = 99",
        )
        .await;
    database.execute("UPDATE marea.daily_activity SET minutes = minutes + 1").await;
    database.execute("SELECT marea.refold((SELECT array_agg(id) FROM public.users))").await;
    assert_eq!(database.text(STATE).await, kept);
}

/// Any statement on any number of sessions and events of any learners.
fn random_statement(random: &mut Random) -> String {
    let n = random.within(1..=4);
    let day = format!(
        "'2026-06-01T12:00Z'::timestamptz + {} * interval '7 hours' * ascii(md5(u.id::text || n)) / 50",
        random.within(0..=90)
    );
    let some =
        format!("(SELECT id FROM public.users ORDER BY md5(id::text || '{}') LIMIT {n})", random.bits());
    let metric = *random.one_of(&[
        "qa_attempts",
        "qa_correct",
        "duration_minutes",
        "vocabulary_learned",
        "descriptions_generated",
    ]);
    let value = if random.chance(20) { "NULL".to_owned() } else { random.within(-2..=9).to_string() };
    match random.within(0..=9) {
        0..=3 => format!("INSERT INTO public.sessions (user_id, ended_at, {metric}) SELECT u.id, {day}, {value}
            FROM public.users AS u, generate_series(1, {n}) AS n WHERE u.id IN {some}"),
        4 => format!("INSERT INTO public.sessions (user_id) SELECT id FROM public.users WHERE id IN {some}"),
        5 => format!("UPDATE public.sessions SET {metric} = {value}, ended_at = coalesce(ended_at, '2026-06-10T12:00Z') WHERE user_id IN {some}"),
        6 => format!("UPDATE public.sessions AS s SET ended_at = s.ended_at + interval '31 hours' WHERE s.user_id IN {some} AND random() < 0.3"),
        7 => format!("UPDATE public.sessions SET ended_at = NULL WHERE user_id IN {some} AND random() < 0.2"),
        8 => format!("DELETE FROM public.sessions WHERE user_id IN {some} AND random() < 0.2"),
        _ => format!("INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points, vocabulary_learned, new_words)
            SELECT gen_random_uuid(), u.id, {day}, ({day})::date, {n}, {n}, -{n} FROM public.users AS u, generate_series(1, {n}) AS n WHERE u.id IN {some}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    for (name, up_to) in [("gone_001", 1), ("gone_newest", u32::MAX)] {
        let database = cluster.database(name, up_to).await;
        database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
        let rows = format!("
            INSERT INTO public.sessions (user_id, ended_at) SELECT '{LEARNER}', '2026-06-01Z'::timestamptz + n * interval '1 day' FROM generate_series(1, 9) AS n;
            INSERT INTO public.export_history (user_id, export_type, export_format) VALUES ('{LEARNER}', 'a', 'b');
            INSERT INTO public.user_api_keys (user_id) VALUES ('{LEARNER}');");
        database.execute(&rows).await;
        // Something of the same transaction is still waiting for its version when the user goes.
        let client = connect(&database.url).await;
        client.batch_execute(&format!("BEGIN; UPDATE public.user_progress SET total_points = 5; UPDATE public.export_history SET status = 'failed';
            DELETE FROM public.sessions WHERE ended_at < '2026-06-04Z'; DELETE FROM public.users WHERE id = '{LEARNER}'; COMMIT")).await.expect("gone");
        let tables = database.text("SELECT string_agg(format('SELECT %L AS t, count(*) AS n FROM %s', c.oid::regclass, c.oid::regclass), ' UNION ALL ')
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'marea') AND c.relkind = 'r' AND c.relname NOT IN ('backfill', 'catalogue', 'runs', 'this_run')").await;
        assert_eq!(
            database
                .text(&format!("SELECT string_agg(t, ', ') FROM ({tables}) AS counted WHERE n > 0"))
                .await,
            ""
        );
    }
    cluster.stop().await;
}

//! Many learners at once: the migrations and their rollback, a bulk update, the backfill.

use std::time::Duration;

use super::{Figure, Rounds, Spread};
use crate::cluster::{Cluster, Database, migrations};

const MIGRATION_ROUNDS: usize = 3;
const UPDATE_ROUNDS: usize = 5;

/// Seconds that a migration file takes with `psql`.
async fn timed(database: &Database, names: &[String]) -> f64 {
    let started = super::now();
    for name in names {
        database.migration(name).await.succeeds();
    }
    started.elapsed().as_secs_f64()
}

fn with_users(users: u32) -> String {
    format!(
        "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, {users}); ANALYZE;"
    )
}

/// Migrations 001 and 002 on so many users, and their rollback.
pub async fn migration_figures(users: u32) -> Vec<Figure> {
    let cluster = Cluster::start().await;
    let files: Vec<String> = migrations()
        .into_iter()
        .filter(|(number, _)| *number <= 2)
        .map(|(_, path)| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    let back: Vec<String> = files.iter().rev().map(|name| name.replace(".sql", "_rollback.sql")).collect();
    let (mut up, mut down, mut users_alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..MIGRATION_ROUNDS {
        let database = cluster.database(&format!("bench_migration_{round}"), 0).await;
        let started = super::now();
        database.execute(&with_users(users)).await;
        users_alone.push(started.elapsed().as_secs_f64());
        up.push(timed(&database, &files).await);
        down.push(timed(&database, &back).await);
    }
    cluster.stop().await;
    let users_alone = Spread::of("s", users_alone).median;
    let figure = |what: &str, bar: f64, plan: &str, seconds: Vec<f64>| {
        let measured = Spread::of("s", seconds);
        let ratio = measured.median / users_alone;
        Figure {
            what: format!("{what}, {users} users"),
            baseline: format!("the plan's {plan}"),
            bar: format!("< {bar} s"),
            passed: measured.median < bar,
            measured,
            how: format!(
                "psql -f of both files, a new database each round; {ratio:.1} x the {users_alone:.2} s that inserting the \
                 users themselves took"
            ),
        }
    };
    vec![
        figure("migration 001 + 002", 5.0, "5 to 10 s", up),
        figure("rollback 002 + 001", 2.0, "2 to 3 s", down),
    ]
}

/// A bulk update of all learners' progress, with the sync layer and with 001 alone.
pub async fn update_figure(users: u32) -> Figure {
    let cluster = Cluster::start().await;
    let databases =
        [cluster.database("bench_without", 1).await, cluster.database("bench_with", u32::MAX).await];
    for database in &databases {
        database.execute(&with_users(users)).await;
        database.execute("INSERT INTO public.user_progress (user_id) SELECT id FROM public.users").await;
    }
    let mut rounds = Rounds::new();
    for round in 0..=UPDATE_ROUNDS {
        let mut times = [Duration::ZERO; 2];
        for (database, time) in databases.iter().zip(&mut times) {
            database.execute("VACUUM ANALYZE").await;
            database.execute("CHECKPOINT").await;
            let started = super::now();
            database.execute("UPDATE public.user_progress SET total_points = total_points + 1").await;
            *time = started.elapsed();
        }
        if round > 0 {
            rounds.add(times[0], times[1]);
        }
    }
    cluster.stop().await;
    rounds.figure(
        &format!("bulk UPDATE of {users} users' progress, sync layer on"),
        "the same with 001 alone",
        3.0,
        "one statement, one transaction, commit included; VACUUM and CHECKPOINT before each",
    )
}

/// The backfill of so many sessions, a hundred for each learner, against copying the table.
pub async fn backfill_figure(sessions: u32) -> Figure {
    let users = sessions / 100;
    let cluster = Cluster::start().await;
    let database = cluster.database("bench_backfill", 3).await;
    database.execute(&with_users(users)).await;
    let fill = "SET session_replication_role = replica;
         INSERT INTO public.sessions (user_id, started_at, ended_at, duration_minutes, images_processed,
             descriptions_generated, qa_attempts, qa_correct, vocabulary_learned, session_data)
         SELECT u.id, at, at, n % 50, n % 7, n % 5, n % 30, n % 20, n % 4,
                jsonb_build_object('local_date', to_char(at, 'YYYY-MM-DD'))
         FROM public.users AS u, generate_series(1, 100) AS n,
              LATERAL (SELECT timestamptz '2026-11-01' - (n * 7919 % 365) * interval '1 day') AS t (at);
         SET session_replication_role = origin;";
    database.execute(fill).await;
    database.execute("VACUUM ANALYZE").await;
    database.execute("CHECKPOINT").await;

    let started = super::now();
    database.execute("CREATE TABLE bench_copy (LIKE public.sessions INCLUDING ALL); INSERT INTO bench_copy TABLE public.sessions")
        .await;
    let copy = started.elapsed();
    database.execute("DROP TABLE bench_copy").await;
    let started = super::now();
    database.sql(&["CALL marea.run_backfill(again => true)"]).await.succeeds();
    let took = started.elapsed();
    let counted = database.text("SELECT facts_read FROM marea.backfill ORDER BY run DESC LIMIT 1").await;
    assert_eq!(counted, sessions.to_string());
    let days = database.text("SELECT count(*) FROM marea.daily_activity").await;
    cluster.stop().await;

    let per_second = f64::from(sessions) / took.as_secs_f64();
    Figure {
        what: format!("backfill of {sessions} sessions, {users} users"),
        baseline: "copying the sessions with their indexes".into(),
        bar: ">= 10000 rows/s".into(),
        measured: Spread::of("rows/s", [per_second]),
        passed: per_second >= 10_000.0,
        how: format!(
            "CALL marea.run_backfill() on learners with a year of sessions and {days} days between them, once: {:.1} s, the copy \
             {:.1} s, so {:.1} x",
            took.as_secs_f64(),
            copy.as_secs_f64(),
            took.as_secs_f64() / copy.as_secs_f64()
        ),
    }
}

//! Sessions that go, by whom, and what stays of them.

use marea_tests::cluster::{Cluster, Database};

const LEARNER: &str = "00000000-0000-4000-8000-000000000001";

async fn app(cluster: &Cluster, name: &str) -> Database {
    let database = cluster.database(name, u32::MAX).await;
    database
        .execute(&format!(
            "INSERT INTO public.users (id) VALUES ('{LEARNER}');
             INSERT INTO public.sessions (user_id, ended_at, duration_minutes, qa_attempts, qa_correct, vocabulary_learned,
                descriptions_generated, images_processed)
             SELECT '{LEARNER}', '2025-01-01Z'::timestamptz + n * interval '1 day', 10, 4, 3, 2, 1, 1 FROM generate_series(0, 9) AS n"
        ))
        .await;
    database
}

async fn progress(database: &Database) -> String {
    let row = "SELECT to_jsonb(p) - '{id,created_at,updated_at}'::text[] FROM public.user_progress AS p";
    database.text(row).await
}

async fn days(database: &Database) -> String {
    database.text("SELECT string_agg(d::text, E'\\n' ORDER BY day) FROM marea.daily_activity AS d").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_retired_goes_on_counting() {
    let cluster = Cluster::start().await;
    let database = app(&cluster, "retired").await;
    // The app's trigger names its table without a schema, as real ones do.
    database
        .execute(
            "CREATE TABLE public.audit (what text);
             CREATE FUNCTION public.audit() RETURNS TRIGGER LANGUAGE plpgsql AS
                'BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END';
             CREATE TRIGGER audit AFTER DELETE ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.audit()",
        )
        .await;
    let (before, on_days) = (progress(&database).await, days(&database).await);
    let version = database.text("SELECT version FROM marea.clocks").await;

    let retire = |most: u32| format!("SELECT marea.retire_sessions('2025-01-08Z', {most})");
    assert_eq!(database.text(&retire(4)).await, "4");
    assert_eq!(database.text(&retire(4)).await, "3", "fewer than asked for: all that there were");
    assert_eq!(database.text(&retire(4)).await, "0");
    assert_eq!(database.text("SELECT count(*) FROM public.sessions").await, "3");
    assert_eq!(database.text("SELECT count(*) FROM public.audit").await, "7");
    assert_eq!((progress(&database).await, days(&database).await), (before.clone(), on_days.clone()));
    let folded = format!("SELECT marea.refold(ARRAY['{LEARNER}'::uuid])");
    assert_eq!(database.text(&folded).await, "0", "from nothing it is the same");
    // Their ids stay taken, and no row that devices have has changed.
    assert_eq!(
        database.text("SELECT count(*) FROM marea.rows WHERE deleted AND table_name = 'sessions'").await,
        "7"
    );
    let changed = format!("SELECT count(*) FROM marea.rows WHERE NOT deleted AND version > {version}");
    assert_eq!(database.text(&changed).await, "0");

    // The learner deletes the last one: the latest times are those of what is left, retired ones among them.
    database.execute("DELETE FROM public.sessions").await;
    let left = "SELECT concat_ws(' ', total_sessions, longest_streak_days, last_active_on, (last_qa_session_at AT TIME ZONE 'UTC')::date)
        FROM public.user_progress";
    assert_eq!(database.text(left).await, "7 7 2025-01-07 2025-01-07");
    assert_eq!(database.text(&folded).await, "0");

    for (wrong, why) in [
        ("NULL", "before: must be a time that has passed"),
        ("'infinity'", "before: must be a time that has passed"),
        ("now() + interval '1 day'", "before: must be a time that has passed"),
        ("now(), 0", "most: must be 1 to 1000000"),
    ] {
        database.sql(&[&format!("SELECT marea.retire_sessions({wrong})")]).await.fails_with(why);
    }
    for role in ["anon", "authenticated"] {
        let call = format!("SET ROLE {role}; SELECT marea.retire_sessions(now())");
        database.sql(&[&call]).await.fails_with("permission denied");
    }
    database.sql(&["SET ROLE service_role; SELECT marea.retire_sessions(now())"]).await.succeeds();
    // A learner takes all that is kept along.
    database.execute("DELETE FROM public.users").await;
    assert_eq!(database.text("SELECT count(*) FROM marea.kept_facts").await, "0");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_told_to_keep_counting_and_a_learner_takes_out() {
    let cluster = Cluster::start().await;
    let database = app(&cluster, "told").await;
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM public.sessions), total_sessions) FROM public.user_progress";
    let delete =
        "DELETE FROM public.sessions WHERE id = (SELECT id FROM public.sessions ORDER BY ended_at LIMIT 1)";
    let as_learner = format!(
        "BEGIN; SET LOCAL ROLE authenticated; SELECT set_config('request.jwt.claims', '{{\"sub\": \"{LEARNER}\"}}', true); {delete}; COMMIT"
    );
    let kept = format!("BEGIN; SELECT set_config('marea.keep_counting', 'on', true); {delete}; COMMIT");
    let taken = format!("BEGIN; SELECT set_config('marea.keep_counting', 'off', true); {delete}; COMMIT");
    for (what, statement, expected) in [
        ("a plain one takes out", delete, "9 9"),
        ("a job that says so", &kept, "8 9"),
        ("what it said ended with it", delete, "7 8"),
        ("all jobs are told", "SELECT marea.keep_counting(true)", "7 8"),
        ("a job", delete, "6 8"),
        ("a learner", &as_learner, "5 7"),
        ("a job for a learner", &taken, "4 6"),
        ("no job any more", "SELECT marea.keep_counting(false)", "4 6"),
        ("a plain one again", delete, "3 5"),
    ] {
        database.execute(statement).await;
        assert_eq!(database.text(counts).await, expected, "{what}");
    }
    assert_eq!(database.text(&format!("SELECT marea.refold(ARRAY['{LEARNER}'::uuid])")).await, "0");
    cluster.stop().await;
}

//! What `adopt.sql` takes and gives back, before Marea is there.

use marea_tests::cluster::{Cluster, migrations, root};
use marea_tests::schema::{SNAPSHOT, assert_same};

use crate::app::{Supabase, by_subject, preflight, rows};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_comes_back_exactly() {
    let server = Supabase::start().await;
    let database = server.awkward("taken", false).await;
    database.execute("ALTER TABLE public.sessions ENABLE ALWAYS TRIGGER sessions_count").await;
    let (schema, data) = (database.text(SNAPSHOT).await, rows(&database, &[]).await);

    let ran = database.migration("adopt.sql").await.succeeds();
    assert!(
        ran.stderr.contains("trigger sessions_count on public.sessions wrote progress and is switched off"),
        "{ran:#?}"
    );
    for table in ["user_api_keys", "user_progress", "export_history"] {
        let gone = database.text(&format!("SELECT to_regclass('public.{table}') IS NULL")).await;
        assert_eq!(gone, "true", "{table}");
        assert_ne!(
            database.text(&format!("SELECT count(*) FROM marea_adopted.{table}")).await,
            "0",
            "{table}"
        );
    }
    // What clients could read they cannot reach there.
    let denied = database.sql(&["SET ROLE authenticated; SELECT * FROM marea_adopted.user_api_keys"]).await;
    denied.fails_with("permission denied for schema marea_adopted");
    let taken = database.text(SNAPSHOT).await;
    let again = database.migration("adopt.sql").await.succeeds();
    assert!(again.stderr.contains("Nothing has to be adopted: this run changes nothing"), "{again:#?}");
    assert_same(&taken, &database.text(SNAPSHOT).await, "adopted twice");

    database.migration("adopt_rollback.sql").await.succeeds();
    assert_same(&schema, &database.text(SNAPSHOT).await, "taken back");
    assert_same(&data, &rows(&database, &[]).await, "the app's rows");
    database.migration("adopt_rollback.sql").await.succeeds();
    server.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_tidy_app_there_is_nothing_to_adopt() {
    let cluster = Cluster::start().await;
    let database = cluster.database("tidy", 0).await;
    for (up_to, what) in [(0, "the app alone"), (u32::MAX, "Marea's own tables")] {
        let database = if up_to == 0 { &database } else { &cluster.database("with_marea", up_to).await };
        let before = database.text(SNAPSHOT).await;
        let ran = database.migration("adopt.sql").await.succeeds();
        assert!(ran.stderr.contains("Nothing has to be adopted"), "{what}: {ran:#?}");
        assert_same(&before, &database.text(SNAPSHOT).await, what);
    }
    cluster.stop().await;
}

/// As the documents advise: the keys in the clear go once the learners have put theirs in again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_meanwhile_is_named_and_the_rest_comes_back() {
    let server = Supabase::start().await;
    let database = server.awkward("dropped", false).await;
    let data = rows(&database, &["user_api_keys"]).await;
    database.migration("adopt.sql").await.succeeds();
    database
        .execute(
            "DROP TABLE marea_adopted.user_api_keys; DROP FUNCTION marea_adopted.user_progress_set_updated_at() CASCADE",
        )
        .await;
    let ran = database.migration("adopt_rollback.sql").await.succeeds();
    for gone in ["table marea_adopted.user_api_keys", "function marea_adopted.user_progress_set_updated_at"] {
        assert!(ran.stderr.contains(&format!("{gone} is there no more and does not come back")), "{ran:#?}");
    }
    assert_same(&data, &rows(&database, &["user_api_keys"]).await, "the app's other rows");
    assert_eq!(database.text("SELECT to_regnamespace('marea_adopted') IS NULL").await, "true");
    server.cluster.stop().await;
}

/// The names that 003 reads stand in the preflight too.
#[test]
fn the_preflight_knows_which_columns_003_reads() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect(name);
    let (preflight, source) = (read("migrations/preflight.sql"), read("migrations/source/carry_over.sql"));
    let (_, source) = source.split_once("FUNCTION marea.carry_over(").expect("the function");
    let (progress, exports) =
        source.split_once("INSERT INTO public.export_history").expect("progress, then exports");
    for (relation, text, more) in [
        ("user_progress", progress, vec!["id", "user_id", "achievements", "updated_at"]),
        ("export_history", exports, vec!["user_id"]),
    ] {
        let (_, listed) = preflight.split_once(&format!("('{relation}', '{{")).expect("the list");
        let (listed, _) = listed.split_once("}'::text[]").expect("its end");
        let mut listed: Vec<&str> = listed
            .split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
            .filter(|it| !it.is_empty())
            .collect();
        let calls = text.split("(o.old, ").skip(1).filter_map(|rest| rest.split_once(')'));
        let mut names: Vec<&str> = calls.flat_map(|(names, _)| names.split('\'')).collect();
        let fields = text
            .split("o.old -> '")
            .chain(text.split("o.old ->> '"))
            .filter_map(|rest| rest.split_once('\''));
        names.extend(fields.map(|(name, _)| name).chain(more));
        names.retain(|it| !it.is_empty() && it.chars().all(|it| it.is_ascii_lowercase() || it == '_'));
        names.sort_unstable();
        names.dedup();
        listed.sort_unstable();
        assert_eq!(listed, names, "{relation}");
    }
}

/// Tables that 003 would read little of or nothing, and functions that name them: said before, while and after.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_come_along_is_said() {
    let cluster = Cluster::start().await;
    let database = cluster.database("renamed", 0).await;
    database
        .execute(
            "INSERT INTO public.users (id) VALUES ('00000000-0000-4000-8000-000000000001');
             CREATE TABLE public.user_progress (id UUID PRIMARY KEY REFERENCES public.users (id), xp_points INTEGER, total_hours INTEGER);
             INSERT INTO public.user_progress SELECT id, 70, 2 FROM public.users;
             CREATE TABLE public.export_history (id UUID PRIMARY KEY, owner UUID);
             CREATE FUNCTION public.level_of(learner UUID) RETURNS INTEGER LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT xp_points FROM user_progress WHERE id = learner); END';
             CREATE FUNCTION public.exports_of(learner UUID) RETURNS BIGINT LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT count(*) FROM public.export_history WHERE owner = learner); END'",
        )
        .await;
    let findings = preflight(&database).await;
    let found = by_subject(&findings);
    let warning = |subject: &'static str| found[&(subject, "warning")];
    assert!(
        warning("columns of public.user_progress").finding.contains("xp_points, total_hours"),
        "{found:#?}"
    );
    assert!(warning("columns of public.export_history").finding.contains("owner"), "{found:#?}");
    let words = &warning("column public.export_history.user_id").remedy;
    assert!(words.starts_with("-- "), "whose a row is, nobody can tell: {words}");
    for (function, table) in [("level_of", "user_progress"), ("exports_of", "export_history")] {
        let found = by_subject(&findings);
        let subject = format!("function public.{function}(learner uuid)");
        let one = found.iter().find(|((of, severity), _)| *of == subject && *severity == "warning");
        assert!(one.is_some_and(|(_, one)| one.finding.contains(table)), "{subject}: {found:#?}");
    }
    database.execute(&warning("column public.user_progress.user_id").remedy).await;
    database
        .execute(
            "ALTER TABLE public.user_progress RENAME COLUMN xp_points TO points;
             ALTER TABLE public.export_history RENAME COLUMN owner TO user_id",
        )
        .await;
    let after = preflight(&database).await;
    let left = by_subject(&after);
    assert!(left.keys().all(|(subject, _)| !subject.starts_with("column public.")), "{left:#?}");
    assert!(!left.contains_key(&("columns of public.export_history", "warning")), "{left:#?}");

    let ran = database.migration("adopt.sql").await.succeeds();
    for function in ["level_of", "exports_of"] {
        let said =
            format!("function public.{function}(learner uuid) names a table that is in marea_adopted now");
        assert!(ran.stderr.contains(&said), "{ran:#?}");
    }
    for (_, file) in migrations() {
        database.file(&file).await.succeeds();
    }
    assert_eq!(database.text("SELECT total_points FROM public.user_progress").await, "70");
    let named = "SELECT coalesce(string_agg(subject, ', ' ORDER BY subject), '') FROM marea.health WHERE measure = 'old tables'";
    assert_eq!(
        database.text(named).await,
        "function public.exports_of(learner uuid), function public.level_of(learner uuid)"
    );
    database
        .execute(
            "CREATE OR REPLACE FUNCTION public.level_of(learner UUID) RETURNS INTEGER LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT total_points FROM public.user_progress WHERE user_id = learner); END';
             DROP FUNCTION public.exports_of(UUID)",
        )
        .await;
    assert_eq!(database.text(named).await, "");
    cluster.stop().await;
}

/// What the app writes progress with beside the fold is named by marea.health, and gone after the preflight's remedy.
#[tokio::test(flavor = "multi_thread")]
async fn health_names_what_writes_progress_beside_the_fold() {
    let cluster = Cluster::start().await;
    let database = cluster.database("writers", u32::MAX).await;
    let named = "SELECT string_agg(subject || ' ' || value, ', ' ORDER BY subject) FROM marea.health WHERE measure = 'foreign writers'";
    assert_eq!(database.text(named).await, "all 0");
    database
        .execute(
            "CREATE FUNCTION public.grade(learner UUID) RETURNS VOID LANGUAGE plpgsql AS
                 'BEGIN UPDATE user_progress SET total_points = 0 WHERE user_id = learner; END';
             CREATE FUNCTION public.count_it() RETURNS TRIGGER LANGUAGE plpgsql AS
                 'BEGIN UPDATE user_progress SET total_sessions = 1; RETURN NEW; END';
             CREATE TRIGGER count_it AFTER INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.count_it();
             CREATE TRIGGER off BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.count_it();
             ALTER TABLE public.sessions DISABLE TRIGGER off",
        )
        .await;
    assert_eq!(database.text(named).await, "all 2, function public.grade 1, trigger count_it on sessions 1");
    for subject in ["function public.grade(learner uuid)", "trigger count_it on public.sessions"] {
        let findings = preflight(&database).await;
        database.execute(&by_subject(&findings)[&(subject, "warning")].remedy).await;
    }
    assert_eq!(database.text(named).await, "all 0");
    cluster.stop().await;
}

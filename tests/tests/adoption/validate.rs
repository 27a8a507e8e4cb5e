//! Validations on healthy projects: right on any day, and *not tried* where they cannot try.

use marea_tests::cluster::{Cluster, migrations};

use crate::app::Supabase;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_healthy_fails() {
    let server = Supabase::start().await;
    let database = server.awkward("any_day", false).await;
    database.migration("adopt.sql").await.succeeds();
    for (_, file) in migrations() {
        database.file(&file).await.succeeds();
    }
    let validate = async |name: &str| {
        let mut said = String::new();
        for (number, _) in migrations() {
            let ran = database.migration(&format!("validate_{number:03}.sql")).await.succeeds();
            assert!(!ran.stdout.contains("FAIL"), "{name}, {number}: {ran:#?}");
            said += &ran.stdout;
        }
        said
    };
    assert!(!validate("as it comes").await.contains("NOT TRIED"));
    database
        .execute("INSERT INTO auth.users (id) VALUES (gen_random_uuid()); INSERT INTO public.users (id) SELECT id FROM auth.users ON CONFLICT DO NOTHING")
        .await;
    assert!(!validate("somebody signed up, and has done nothing yet").await.contains("NOT TRIED"));

    // A rule that no session of now can keep.
    database.execute("ALTER TABLE public.sessions ADD CONSTRAINT long_ago CHECK (ended_at < '2026-12-01' AND id::text < 'a') NOT VALID").await;
    database.execute("CREATE FUNCTION public.closed() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''closed today''; END';
        CREATE TRIGGER closed BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.closed()").await;
    let said = validate("the app takes no session").await;
    assert!(said.contains("not tried, because the app's sessions do not take one: closed today"), "{said}");
    // That something of Marea's own fails is no rule of the app's.
    database
        .execute(
            "DROP TRIGGER closed ON public.sessions; ALTER TABLE public.sessions DROP CONSTRAINT long_ago",
        )
        .await;
    database.execute("ALTER FUNCTION marea.fold(marea.fact[]) RENAME TO gone").await;
    database.migration("validate_001.sql").await.fails_with("functions that work when fired");
    database.execute("ALTER FUNCTION marea.gone(marea.fact[]) RENAME TO fold").await;

    database.execute("DELETE FROM public.sessions; DELETE FROM auth.users").await;
    let said = validate("nobody is there yet").await;
    assert_eq!(said.matches("not tried, because there is no user to try").count(), 2, "{said}");
    server.cluster.stop().await;
}

/// A script that is sent as one, as the SQL editor does.
#[tokio::test(flavor = "multi_thread")]
async fn the_backfill_runs_in_the_sql_editor_too() {
    let cluster = Cluster::start().await;
    let database = cluster.database("editor", 2).await;
    database
        .execute("INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 250)")
        .await;
    let (_, file) = migrations().into_iter().find(|(number, _)| *number == 3).expect("003");
    let text = std::fs::read_to_string(file).expect("003");
    database.execute(&text).await;
    let done = "SELECT concat_ws(' ', users_done, (finished_at IS NOT NULL)::text) FROM marea.backfill";
    assert_eq!(database.text(done).await, "100 false");
    assert_eq!(database.text("SELECT marea.backfill_batch(100)").await, "100");
    assert_eq!(database.text("SELECT marea.backfill_batch(100)").await, "50");
    assert_eq!(database.text("SELECT marea.backfill_batch(100)").await, "0");
    assert_eq!(database.text(done).await, "250 true");
    // Sent alone, whatever stands around it, it goes through.
    database.execute("/* once more */ CALL marea.run_backfill(again => true); -- from the dashboard").await;
    assert_eq!(database.text("SELECT count(*) FROM marea.backfill WHERE finished_at IS NOT NULL").await, "2");
    cluster.stop().await;
}

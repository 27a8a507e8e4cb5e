//! Each finding of `preflight.sql` is seen to be found, and gone when its remedy has been pasted.

use std::collections::BTreeSet;

use marea_tests::cluster::{Cluster, Database, migrations, root};
use marea_tests::schema::{SNAPSHOT, assert_same};

use crate::app::{Finding, Supabase, by_subject, preflight, preflight_with, verdict};

/// What the awkward app has, and how much it matters.
const AWKWARD: [(&str, &str); 20] = [
    ("public.export_history", "blocker"),
    ("public.user_api_keys", "blocker"),
    ("public.user_progress", "blocker"),
    ("function public.user_progress_set_updated_at()", "blocker"),
    ("policies of public.sessions", "warning"),
    ("grants on public.sessions", "warning"),
    ("trigger sessions_count on public.sessions", "warning"),
    ("function public.give_points(learner uuid, points integer)", "warning"),
    ("learners without a row in users", "warning"),
    ("new learners", "warning"),
    ("function public.delete_old_sessions(today timestamp with time zone)", "warning"),
    ("job 2 of cron", "warning"),
    ("function public.audit_sessions()", "warning"),
    ("columns of public.user_progress", "warning"),
    ("column public.sessions.user_id", "note"),
    ("trigger sessions_set_duration on public.sessions", "note"),
    ("column public.sessions.session_type", "note"),
    ("constraint sessions_metrics_sane on public.sessions", "note"),
    ("view public.leaders", "note"),
    ("grants on public.user_progress", "note"),
];

/// The numbers of all findings in the file.
fn in_the_file() -> BTreeSet<u32> {
    let text = std::fs::read_to_string(root().join("migrations/preflight.sql")).expect("preflight.sql");
    let (_, findings) = text.split_once("findings (place,").expect("the findings");
    let words = findings.split(|it: char| !it.is_ascii_alphanumeric()).collect::<Vec<_>>();
    let numbered = |pair: &[&str]| match pair {
        ["SELECT" | "THEN" | "ELSE", number] if number.len() == 3 => number.parse().ok(),
        _ => None,
    };
    words.windows(2).filter_map(numbered).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_finding_is_found_and_gone_after_its_remedy() {
    let (awkward, broken, roles) = tokio::join!(
        the_awkward_app_is_told_everything(),
        each_harm_is_told(),
        what_the_role_may_not_do_and_an_old_postgres_are_told()
    );
    let gone: BTreeSet<u32> = [awkward, broken, roles].into_iter().flatten().collect();
    let all = in_the_file();
    assert!(all.len() > 35, "the file is read wrongly: {all:?}");
    assert_eq!(gone.intersection(&all).count(), all.len(), "never seen to go: {:?}", all.difference(&gone));
}

/// Notes the finding as one that its remedy takes away.
fn note_gone(gone: &mut BTreeSet<u32>, one: &Finding, after: &[Finding]) {
    let again = after.iter().any(|it| (it.place, &it.subject) == (one.place, &one.subject));
    assert!(!again, "its remedy did not help: {one:#?}");
    gone.insert(one.place);
}

/// Gives the numbers of what its remedies took away.
async fn the_awkward_app_is_told_everything() -> BTreeSet<u32> {
    let mut gone = BTreeSet::new();
    let server = Supabase::start().await;
    let database = server.awkward("awkward", false).await;
    database
        .execute("CREATE VIEW public.leaders AS SELECT user_id, total_points FROM public.user_progress")
        .await;
    let before = database.text(SNAPSHOT).await;

    let findings = preflight(&database).await;
    let found: Vec<(&str, &str)> = by_subject(&findings).into_keys().collect();
    let mut expected = AWKWARD.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let last = verdict(&findings);
    assert_eq!((&*last.subject, &*last.finding), ("not ready", "4 blockers, 10 warnings"));
    assert_same(&before, &database.text(SNAPSHOT).await, "the preflight only reads");

    // Two of them are for somebody to decide, in their own code.
    database.migration("adopt.sql").await.succeeds();
    database.execute("DROP VIEW public.leaders").await;
    let after = preflight(&database).await;
    let by_adopting = findings
        .iter()
        .filter(|one| one.remedy.contains("adopt.sql") || one.place == 146 || one.place == 148);
    for one in by_adopting {
        note_gone(&mut gone, one, &after);
    }
    let subjects: Vec<(&str, &str)> =
        expected.into_iter().filter(|(subject, _)| *subject != "view public.leaders").collect();
    for (subject, severity) in subjects {
        let now = preflight(&database).await;
        if let Some(one) = by_subject(&now).get(&(subject, severity)) {
            assert!(!one.remedy.contains("adopt.sql"), "adopt.sql should have helped: {one:#?}");
            database.execute(&one.remedy).await;
            let after = preflight(&database).await;
            note_gone(&mut gone, one, &after);
        }
        let after = preflight(&database).await;
        assert!(
            !by_subject(&after).contains_key(&(subject, severity)),
            "its remedy did not help: {after:#?}"
        );
    }
    let after = preflight(&database).await;
    assert_eq!(verdict(&after).subject, "ready", "{after:#?}");
    server.cluster.stop().await;
    gone
}

/// What breaks the tidy app, as a superuser, and the finding that must tell. The remedy makes it whole for the next.
const BROKEN: [(&str, &str, &str); 30] = [
    ("ALTER ROLE service_role RENAME TO somebody", "role service_role", "blocker"),
    ("ALTER FUNCTION auth.uid() RENAME TO who", "auth.uid()", "blocker"),
    ("REVOKE USAGE ON SCHEMA auth FROM authenticated", "schema auth", "blocker"),
    ("REVOKE USAGE ON SCHEMA public FROM authenticated, PUBLIC", "schema public", "blocker"),
    ("CREATE SCHEMA marea", "schema marea", "blocker"),
    ("ALTER TABLE public.sessions RENAME COLUMN phrases_saved TO phrases", "column public.sessions.phrases_saved", "blocker"),
    ("ALTER TABLE public.sessions ALTER COLUMN qa_correct TYPE bigint", "column public.sessions.qa_correct", "blocker"),
    ("ALTER TABLE public.sessions DROP CONSTRAINT sessions_pkey", "public.sessions (id)", "blocker"),
    ("ALTER TABLE public.sessions ADD COLUMN lesson uuid NOT NULL", "column public.sessions.lesson", "blocker"),
    (
        "ALTER TABLE public.sessions DROP COLUMN vocabulary_learned,
            ADD COLUMN vocabulary_learned integer GENERATED ALWAYS AS (images_processed / 2) STORED",
        "column public.sessions.vocabulary_learned",
        "blocker",
    ),
    ("ALTER TABLE public.users DISABLE ROW LEVEL SECURITY", "row level security of public.users", "warning"),
    ("DROP POLICY sessions_insert_own ON public.sessions", "policies of public.sessions", "blocker"),
    ("DROP POLICY sessions_select_own ON public.sessions", "policies of public.sessions", "warning"),
    ("DROP POLICY sessions_update_own ON public.sessions", "policies of public.sessions", "warning"),
    ("ALTER POLICY sessions_delete_own ON public.sessions TO anon", "policies of public.sessions", "warning"),
    ("REVOKE INSERT ON public.sessions FROM authenticated", "grants on public.sessions", "blocker"),
    ("REVOKE SELECT ON public.sessions FROM authenticated", "grants on public.sessions", "warning"),
    (
        "CREATE TABLE public.other (a int); CREATE INDEX export_history_status_idx ON public.other (a)",
        "index public.export_history_status_idx",
        "blocker",
    ),
    (
        "ALTER TABLE public.sessions DROP CONSTRAINT sessions_user_id_fkey;
         INSERT INTO public.sessions (id, user_id) VALUES (gen_random_uuid(), gen_random_uuid())",
        "sessions of people without a row in users",
        "warning",
    ),
    (
        "CREATE FUNCTION public.forget() RETURNS VOID LANGUAGE sql AS
            'DELETE FROM public.sessions WHERE ended_at < now() - interval ''1 year'''",
        "function public.forget()",
        "warning",
    ),
    (
        "CREATE PROCEDURE public.forget_all() LANGUAGE plpgsql AS 'begin truncate sessions; end'",
        "function public.forget_all()",
        "warning",
    ),
    (
        "CREATE TABLE public.words (user_id uuid);
         CREATE FUNCTION public.count_word() RETURNS TRIGGER LANGUAGE plpgsql AS
            'BEGIN UPDATE user_progress SET total_vocabulary_learned = 1; RETURN NEW; END';
         CREATE TRIGGER count_word AFTER INSERT ON public.words FOR EACH ROW EXECUTE FUNCTION public.count_word()",
        "trigger count_word on public.words",
        "warning",
    ),
    // Where ADR 93 refuses service_role: a backend's own function, and jobs that write totals themselves or by it.
    (
        "CREATE FUNCTION public.grade(learner uuid) RETURNS VOID LANGUAGE plpgsql AS
            'BEGIN UPDATE user_progress SET total_points = 0 WHERE user_id = learner; END';
         GRANT EXECUTE ON FUNCTION public.grade(uuid) TO service_role",
        "function public.grade(learner uuid)",
        "warning",
    ),
    (
        "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, jobname text, schedule text, command text, active boolean);
         CREATE FUNCTION cron.unschedule(bigint) RETURNS boolean LANGUAGE sql AS 'DELETE FROM cron.job WHERE jobid = $1 RETURNING true';
         INSERT INTO cron.job VALUES (7, 'reset', '0 3 * * *', 'update only public.user_progress set total_points = 0', true)",
        "job reset of cron",
        "warning",
    ),
    (
        "CREATE PROCEDURE public.level_up() LANGUAGE plpgsql AS 'begin update public.user_progress set total_points = 1; end';
         INSERT INTO cron.job VALUES (8, 'levels', '0 3 * * *', 'CALL public.level_up()', true)",
        "job levels of cron",
        "warning",
    ),
    ("CREATE TYPE public.kind AS ENUM ('mixed'); ALTER TABLE public.sessions ALTER session_type DROP DEFAULT,
        ALTER session_type TYPE public.kind USING 'mixed'", "column public.sessions.session_type", "note"),
    ("ALTER TABLE public.sessions ADD CONSTRAINT short CHECK (duration_minutes < 90)", "constraint short on public.sessions", "note"),
    ("ALTER TABLE public.sessions ALTER user_id DROP NOT NULL", "column public.sessions.user_id", "note"),
    ("ALTER TABLE public.sessions RENAME TO sessions_v1", "table public.sessions", "blocker"),
    ("ALTER TABLE public.users RENAME TO users_v1", "table public.users", "blocker"),
];

async fn each_harm_is_told() -> BTreeSet<u32> {
    let mut gone = BTreeSet::new();
    let cluster = Cluster::start().await;
    let database = cluster.database("tidy", 0).await;
    let findings = preflight(&database).await;
    assert!(by_subject(&findings).is_empty(), "{findings:#?}");
    assert_eq!(verdict(&findings).subject, "ready");

    // The first word "begin" is none of its own: what to do is said in words.
    let old = "CREATE FUNCTION public.forget_old() RETURNS VOID LANGUAGE plpgsql AS
        E'-- begin with the oldest\\nBEGIN DELETE FROM sessions WHERE ended_at < now(); END'";
    database.execute(old).await;
    let findings = preflight(&database).await;
    let one = by_subject(&findings)[&("function public.forget_old()", "warning")];
    assert_eq!(one.remedy, "-- Let it call set_config('marea.keep_counting', 'on', true) first.");
    database.execute("DROP FUNCTION public.forget_old()").await;
    // Behind declarations it is.
    let declares = "CREATE FUNCTION public.forget_old() RETURNS VOID LANGUAGE plpgsql AS
        'DECLARE begins date := now(); BEGIN DELETE FROM sessions WHERE ended_at < begins; END'";
    database.execute(declares).await;
    let findings = preflight(&database).await;
    let one = by_subject(&findings)[&("function public.forget_old()", "warning")];
    assert!(one.remedy.contains("DECLARE begins date := now(); BEGIN\n    PERFORM set_config("), "{one:#?}");
    database.execute(&one.remedy).await;
    assert!(by_subject(&preflight(&database).await).is_empty());
    database.execute("DROP FUNCTION public.forget_old()").await;

    // What is not read by 003: gone where it was renamed or moved.
    database
        .execute(
            "CREATE TABLE public.user_progress (id UUID PRIMARY KEY REFERENCES public.users (id), xp INTEGER);
             CREATE FUNCTION public.level_of(learner UUID) RETURNS INTEGER LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT xp FROM user_progress WHERE id = learner); END'",
        )
        .await;
    let findings = preflight(&database).await;
    let found = by_subject(&findings);
    let (keyed, naming) = (
        found[&("column public.user_progress.user_id", "warning")],
        found[&("function public.level_of(learner uuid)", "warning")],
    );
    database.execute(&keyed.remedy).await;
    note_gone(&mut gone, keyed, &preflight(&database).await);
    database.execute("DROP TABLE public.user_progress").await;
    note_gone(&mut gone, naming, &preflight(&database).await);
    database.execute("DROP FUNCTION public.level_of(UUID)").await;

    for (harm, subject, severity) in BROKEN {
        database.execute(harm).await;
        let findings = preflight(&database).await;
        let found = by_subject(&findings);
        let one = found.get(&(subject, severity)).unwrap_or_else(|| panic!("{harm}: {findings:#?}"));
        let writes_totals = subject.starts_with("job ") || subject.contains(".grade(");
        assert!(!writes_totals || one.finding.contains("service_role"), "{one:#?}");
        database.execute(&one.remedy).await;
        let after = preflight(&database).await;
        assert!(
            !by_subject(&after).contains_key(&(subject, severity)),
            "{harm}: its remedy did not help: {after:#?}"
        );
        note_gone(&mut gone, one, &after);
    }
    cluster.stop().await;
    gone
}

async fn what_the_role_may_not_do_and_an_old_postgres_are_told() -> BTreeSet<u32> {
    let mut gone = BTreeSet::new();
    let cluster = Cluster::start().await;
    let database = cluster.database("roles", 0).await;
    database
        .execute(
            "CREATE ROLE migrator LOGIN PASSWORD 'migrator'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
             REVOKE USAGE ON SCHEMA auth FROM PUBLIC; ALTER TABLE public.sessions FORCE ROW LEVEL SECURITY",
        )
        .await;
    let (_, place) = database.url.split_once('@').expect("a login in the URL");
    let url = format!("postgres://migrator:migrator@{place}");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a login");
    tokio::spawn(connection);
    let migrator = Database { url, client };
    loop {
        let findings = preflight(&migrator).await;
        let Some(blocker) = findings.iter().find(|one| one.severity == "blocker") else { break };
        // As the owner: a remedy that does not help is found again, for ever; so it must be another one each time.
        database.execute(&blocker.remedy).await;
        let after = preflight(&migrator).await;
        let again =
            after.iter().any(|one| (&one.subject, &one.finding) == (&blocker.subject, &blocker.finding));
        assert!(!again, "its remedy did not help: {blocker:#?}");
        gone.insert(blocker.place);
    }
    assert!(
        database.text("SELECT has_database_privilege('migrator', current_database(), 'CREATE')").await
            == "true"
    );
    assert!(
        database
            .text("SELECT relforcerowsecurity FROM pg_class WHERE oid = 'public.sessions'::regclass")
            .await
            == "false"
    );

    // The server itself: by a version that there is not yet, and by an extension that is at hand here.
    let findings = preflight_with(&database, |text| text.replace("140000", "990000")).await;
    let old = by_subject(&findings)[&("Postgres version", "blocker")].clone();
    note_gone(&mut gone, &old, &preflight(&database).await);
    let at_hand = "SELECT name FROM pg_available_extensions WHERE installed_version IS NULL AND NOT name ~ '[^a-z_]' ORDER BY name LIMIT 1";
    let at_hand = database.text(at_hand).await;
    let of_it = |text: String| text.replace("name = 'pg_cron'", &format!("name = '{at_hand}'"));
    let findings = preflight_with(&database, of_it).await;
    let cron = by_subject(&findings)[&("pg_cron", "note")].clone();
    assert_eq!(cron.remedy, "CREATE EXTENSION pg_cron;");
    database.execute(&cron.remedy.replace("pg_cron", &at_hand)).await;
    note_gone(&mut gone, &cron, &preflight_with(&database, of_it).await);

    // A view where a table is asked for; and a trigger on users, which makes a row of progress for who signs up. Both remedies say in
    // words what somebody has to do.
    let makes_rows = |insert: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.welcome() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN {insert}; RETURN NEW; END'"
        )
    };
    let insert = "INSERT INTO public.user_progress (user_id) VALUES (NEW.id)";
    database
        .execute(&format!(
            "ALTER TABLE public.sessions RENAME TO sessions_v1; CREATE VIEW public.sessions AS SELECT * FROM public.sessions_v1;
             {}; CREATE TRIGGER welcome AFTER INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.welcome()",
            makes_rows(insert)
        ))
        .await;
    let findings = preflight(&database).await;
    let found = by_subject(&findings);
    let (view, trigger) =
        (found[&("public.sessions", "blocker")], found[&("trigger welcome on public.users", "warning")]);
    database.execute("DROP VIEW public.sessions; ALTER TABLE public.sessions_v1 RENAME TO sessions").await;
    note_gone(&mut gone, view, &preflight(&database).await);
    let advice =
        "INSERT INTO public.user_progress (user_id) VALUES (NEW.id) ON CONFLICT (user_id) DO NOTHING";
    assert!(trigger.remedy.contains(advice), "{trigger:#?}");
    database.execute(&makes_rows(advice)).await;
    note_gone(&mut gone, trigger, &preflight(&database).await);
    // And with it somebody can sign up, with Marea and before.
    let sign_up = "INSERT INTO public.users (id) VALUES (gen_random_uuid())";
    for (_, file) in migrations() {
        database.file(&file).await.succeeds();
    }
    database.execute(sign_up).await;
    assert_eq!(
        database
            .text("SELECT count(*) = (SELECT count(*) FROM public.users) FROM public.user_progress")
            .await,
        "true"
    );
    cluster.stop().await;
    gone
}

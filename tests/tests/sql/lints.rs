//! What Supabase's advisor and `plpgsql_check` have to say about what the migrations make. What is known and meant is listed here with
//! its reason; everything else fails, and so does a reason for what is not there any more.

use std::fs;

use marea_tests::cluster::{Cluster, Database, debians_with, root};

/// What is known: the beginning of its line, the full names of the objects behind it, and why it is meant.
type Known = (&'static str, &'static [&'static str], &'static str);

const ADVICE: [Known; 7] = [
    (
        "function_search_path_mutable",
        &["marea.mirror_existing(regclass,integer)", "marea.run_backfill(integer,boolean)"],
        "it commits, so it may have no SET: every name in it has its schema",
    ),
    (
        "rls_enabled_no_policy",
        &[
            "marea.additions",
            "marea.backfill",
            "marea.checkpoints",
            "marea.clients",
            "marea.file_garbage",
            "marea.kept_facts",
            "marea.moved",
            "marea.pending",
            "marea.run_notes",
            "marea.runs",
            "marea.settings",
            "marea.this_run",
        ],
        "for Marea's own functions alone: no policy is no access",
    ),
    (
        "rls_policy_always_true",
        &["marea.catalogue catalogue_select", "marea.columns columns_select", "marea.tables tables_select"],
        "names of tables and columns, nobody's rows",
    ),
    // Each takes the user from the token; `access` lists them one by one, and tries them as somebody else.
    (
        "security_definer_function_executable",
        &[
            "marea.count_once(uuid[]) authenticated",
            "marea.delete_export(uuid) authenticated",
            "marea.epoch() authenticated",
            "marea.has_drifted(text) authenticated",
            "marea.has_wakeups() authenticated",
            "marea.idle_answer(jsonb) authenticated",
            "marea.is_lost_history(text) authenticated",
            "marea.left_out_keys(text,text[]) authenticated",
            "marea.may_add_file(text) authenticated",
            "marea.move_clock() authenticated",
            "marea.note_client(uuid,integer,bigint) authenticated",
            "marea.note_stamps(text,text[],text[],text[],text) authenticated",
            "marea.note_writes(text,text[],jsonb[],boolean) authenticated",
            "marea.record_registers(text,text,jsonb) authenticated",
            "marea.refuse_moved() authenticated",
            "marea.settle_clocks() authenticated",
            "marea.user_exists() authenticated",
            "marea.user_id() authenticated",
        ],
        "marea_sync runs as its caller and needs them; the schema is not exposed",
    ),
    (
        "security_definer_function_executable",
        &["marea_catalogue() anon", "marea_catalogue() authenticated"],
        "the document that clients are built from, without a row in it",
    ),
    (
        "security_definer_function_executable",
        &["marea_pre_request() anon", "marea_pre_request() authenticated"],
        "PostgREST calls it as whoever asks",
    ),
    (
        "security_definer_view",
        &[
            "marea.client_lag",
            "marea.files_to_delete",
            "marea.foreign_writers",
            "marea.health",
            "marea.known_devices",
            "marea.largest_users",
        ],
        "the schema is not exposed; the views are for those who run the database",
    ),
];

const CHECKED: [Known; 7] = [
    (
        "warning 42804",
        &[
            "marea.export_user",
            "marea.guard_progress",
            "marea.import_user",
            "marea.insert_export",
            "marea.insert_sessions",
            "marea.page",
            "marea.push",
            "marea.push_without",
            "marea.rejected_batch",
            "marea.rows_of_others",
            "marea.track_user_api_keys",
            "marea.unmirror_dropped",
            "marea.user_id",
            "marea_pre_request",
            "marea_sync",
        ],
        "a literal, or a text that was looked at before, becomes what the variable is",
    ),
    ("security 00000", &["marea.check_deferred"], "names of constraints by %I, from the catalogues"),
    (
        "security 00000",
        &[
            "marea.delete_mirrored",
            "marea.insert_mirrored",
            "marea.lock_mirrored",
            "marea.merge_mirrored",
            "marea.update_mirrored",
            "marea.make_tracking",
            "marea.mirror_batch",
            "marea.note_missing_rows",
            "marea.version_early_rows",
            "marea.version_rows",
        ],
        "a regclass, columns by %I, a type by format_type",
    ),
    (
        "security 00000",
        &["marea.erase_user", "marea.rows_of_others", "marea.import_rows", "marea.import_user"],
        "conditions of marea.tables_of_users, columns by %I; the name of a table is only looked up among them",
    ),
    ("security 00000", &["marea.prepare_files"], "literals of the function itself"),
    ("warning extra 00000", &["marea.add_mirrored"], "a variable that is never read"),
    ("warning extra 00000", &["marea.old_rows"], "its rows come from a statement that is made at run time"),
];

/// One of each kind of advice, and what brings it about.
const PLANTED: [(&str, &str); 15] = [
    (
        "unindexed_foreign_keys",
        "CREATE TABLE marea.bad (id INT PRIMARY KEY, who UUID REFERENCES public.users (id))",
    ),
    (
        "auth_rls_initplan",
        "CREATE POLICY bad ON public.user_progress FOR DELETE TO authenticated USING (user_id = auth.uid())",
    ),
    ("no_primary_key", "CREATE TABLE marea.bad (id INT)"),
    (
        "multiple_permissive_policies",
        "CREATE POLICY bad ON public.user_api_keys FOR SELECT TO authenticated USING (false)",
    ),
    ("policy_exists_rls_disabled", "ALTER TABLE public.user_api_keys DISABLE ROW LEVEL SECURITY"),
    ("rls_disabled", "CREATE TABLE marea.bad (id INT PRIMARY KEY)"),
    (
        "rls_policy_always_true",
        "CREATE POLICY bad ON public.user_api_keys FOR SELECT TO authenticated USING (true)",
    ),
    ("duplicate_index", "CREATE INDEX bad ON marea.rows (user_id, version)"),
    ("security_definer_view", "CREATE VIEW marea.bad AS SELECT 1"),
    (
        "function_search_path_mutable",
        "CREATE FUNCTION marea.bad() RETURNS INT LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
    ),
    (
        "security_definer_function_executable",
        "CREATE FUNCTION public.marea_bad() RETURNS INT LANGUAGE sql SECURITY DEFINER RETURN 1",
    ),
    ("materialized_view_or_foreign_table_in_api", "CREATE MATERIALIZED VIEW marea.bad AS SELECT 1"),
    (
        "rls_enabled_no_policy",
        "CREATE TABLE marea.bad (id INT PRIMARY KEY); ALTER TABLE marea.bad ENABLE ROW LEVEL SECURITY",
    ),
    (
        "security_definer_function_executable",
        "CREATE FUNCTION marea.epoch(bad INT) RETURNS INT LANGUAGE sql SECURITY DEFINER RETURN 1; GRANT EXECUTE ON FUNCTION marea.epoch(INT) TO authenticated",
    ),
    ("unsupported_reg_types", "ALTER TABLE marea.settings ADD COLUMN bad REGPROC"),
];

async fn lines(database: &Database, file: &str, line: &str) -> Vec<String> {
    let query = fs::read_to_string(root().join("tests/fixtures").join(file)).expect("the query");
    let query = format!("SELECT {line} FROM ({}) AS q ORDER BY 1", query.trim_end().trim_end_matches(';'));
    let rows = database.client.query(&query, &[]).await;
    rows.unwrap_or_else(|error| panic!("{error:?}")).iter().map(|row| row.get(0)).collect()
}

/// Whether a line is of this object, and of no other one whose name begins like it.
fn is_of(line: &str, begin: &str, name: &str) -> bool {
    let rest = line.strip_prefix(begin).and_then(|rest| rest.strip_prefix(' ')?.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', ' ']))
}

fn unknown<'a>(found: &'a [String], known: &[Known]) -> Vec<&'a String> {
    let is_known = |line: &String| {
        known.iter().any(|(begin, names, _)| names.iter().any(|name| is_of(line, begin, name)))
    };
    found.iter().filter(|line| !is_known(line)).collect()
}

#[track_caller]
fn is_as_known(found: &[String], known: &[Known]) {
    assert!(
        unknown(found, known).is_empty(),
        "new: mend it, or list it with a reason: {:#?}",
        unknown(found, known)
    );
    let listed = known.iter().flat_map(|(begin, names, _)| names.iter().map(move |name| (*begin, *name)));
    let idle = listed.filter(|(begin, name)| !found.iter().any(|line| is_of(line, begin, name)));
    assert_eq!(idle.collect::<Vec<_>>(), Vec::new(), "not there any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisor_finds_nothing_that_is_not_known() {
    let cluster = Cluster::start().await;
    let database = cluster.database("advised", u32::MAX).await;
    let advice = || lines(&database, "lints.sql", "concat_ws(' ', q.lint, q.object)");
    let before = advice().await;
    is_as_known(&before, &ADVICE);
    // Compiling the statements of a push takes longer than they do (docs/adr/0145).
    let settings = "SELECT proconfig FROM pg_proc WHERE oid = 'public.marea_sync(jsonb)'::regprocedure";
    assert!(database.text(settings).await.contains("jit=off"));
    for (lint, planted) in PLANTED {
        database.execute(&format!("BEGIN; {planted}")).await;
        let found = advice().await;
        assert!(
            unknown(&found, &ADVICE).iter().any(|line| line.starts_with(lint)),
            "{lint}: {planted}: {found:#?}"
        );
        database.execute("ROLLBACK").await;
    }
    cluster.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_checker_finds_nothing_in_the_functions_that_is_not_known() {
    let cluster = Cluster::of_programs(debians_with("plpgsql_check")).await;
    let database = cluster.database("checked", u32::MAX).await;
    // What some functions look for where it is.
    for fixture in ["storage.sql", "net_vault.sql", "realtime.sql"] {
        database.file(&root().join("tests/fixtures").join(fixture)).await.succeeds();
    }
    database
        .execute(
            "CREATE SCHEMA marea_adopted; CREATE TABLE marea_adopted.taken (kind TEXT, schema TEXT, relation TEXT, name TEXT, state TEXT)",
        )
        .await;
    database.execute("CREATE SCHEMA tools; CREATE EXTENSION plpgsql_check SCHEMA tools; SET search_path = public, tools").await;
    let said = || {
        lines(
            &database,
            "plpgsql_check.sql",
            "concat_ws(' ', q.level, q.sqlstate, q.function, q.message, q.detail)",
        )
    };
    is_as_known(&said().await, &CHECKED);
    for (planted, expected) in [
        ("BEGIN RETURN (SELECT missing FROM marea.rows LIMIT 1); END", "error 42703 marea.bad(text)"),
        ("BEGIN EXECUTE 'SELECT ' || given; RETURN NULL; END", "security 00000 marea.bad(text)"),
        ("DECLARE never INT; BEGIN RETURN given; END", "warning 00000 marea.bad(text)"),
        (
            "DECLARE other JSONB := '{}'::text; BEGIN RETURN other ->> given; END",
            "warning 42804 marea.bad(text)",
        ),
    ] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION marea.bad(given TEXT) RETURNS TEXT LANGUAGE plpgsql AS $bad${planted}$bad$"
        );
        database.execute(&function).await;
        let found = said().await;
        let new = unknown(&found, &CHECKED);
        assert!(new.len() == 1 && new[0].starts_with(expected), "{planted}: {new:#?}");
    }
    cluster.stop().await;
}

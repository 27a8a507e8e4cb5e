//! A database's schema as text that can be compared, and validations that are seen to fail. It knows no migration.

use std::collections::BTreeSet;

use tokio::process::Command;

use crate::cluster::{Database, root};

/// Everything in the catalogues that a migration can make or change, one line each. Not the oids, nor the places that dropped columns
/// have left: what is dropped and made again the same is the same.
pub const SNAPSHOT: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (
        SELECT format('schema %s %s', nspname, nspacl) AS line FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT format('relation %s %s %s %s %s %s %s', c.oid::regclass, c.relkind, c.relacl, c.relrowsecurity, c.reloptions,
            c.relpersistence, obj_description(c.oid, 'pg_class'))
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'marea', 'auth')
        UNION ALL
        SELECT format('column %s %s %s %s %s %s %s %s', c.oid::regclass,
            row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attacl, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE n.nspname IN ('public', 'marea', 'auth') AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
        FROM pg_constraint JOIN pg_namespace AS n ON n.oid = connamespace WHERE n.nspname IN ('public', 'marea', 'auth')
        UNION ALL
        SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM pg_index
        JOIN pg_class AS c ON c.oid = indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'marea', 'auth')
        UNION ALL
        SELECT format('function %s %s %s', pg_get_functiondef(p.oid), p.proacl, obj_description(p.oid, 'pg_proc'))
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('public', 'marea', 'auth') AND p.prokind IN ('f', 'p')
        UNION ALL
        SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger AS t WHERE NOT t.tgisinternal
        UNION ALL
        SELECT format('policy %s %s %s %s %s %s', polrelid::regclass, polname, polcmd, polroles::regrole[],
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy
    ) AS everything";

/// Fails the test, with the lines that came and went, unless two snapshots are the same.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same(before: &str, after: &str, what: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone: Vec<&&str> = old.iter().filter(|line| !new.contains(line)).collect();
    let come: Vec<&&str> = new.iter().filter(|line| !old.contains(line)).collect();
    assert!(before == after, "{what}\ngone: {gone:#?}\ncome: {come:#?}");
}

/// Breaks one thing at a time, in a transaction that the failing validation rolls back.
///
/// # Panics
/// When a breakage is not seen by its check, or a check is broken by none.
pub async fn seen_to_fail(database: &Database, file: &str, checks: usize, broken: &[(&str, &str)]) {
    database.execute("INSERT INTO public.users (id) VALUES (gen_random_uuid())").await;
    database.execute("INSERT INTO public.user_progress (user_id) SELECT id FROM public.users").await;
    let data = "SELECT md5(string_agg(p::text, ',')) FROM public.user_progress AS p";
    let before = (database.text(SNAPSHOT).await, database.text(data).await);
    let whole = database.migration(file).await.succeeds();
    assert_eq!(
        (whole.stdout.matches("PASS").count(), whole.stdout.matches("FAIL").count()),
        (checks, 0),
        "{whole:#?}"
    );
    assert_same(&before.0, &database.text(SNAPSHOT).await, "the schema after a validation");
    assert_eq!(before.1, database.text(data).await, "the data after a validation");

    for (breaking, check) in broken {
        let (code, stdout, stderr) = validate_broken(database, breaking, file).await;
        assert_eq!(code, Some(3), "{breaking}: {stdout}{stderr}");
        let rows: Vec<(&str, &str)> = stdout
            .lines()
            .filter_map(|line| Some((line.split('|').next()?, line.split('|').nth(3)?)))
            .collect();
        assert_eq!(rows.len(), checks, "{breaking}: {stdout}{stderr}");
        assert!(rows.contains(&(check, "FAIL")), "{breaking} is not seen by {check:?}: {stdout}{stderr}");
    }
    assert_same(&before.0, &database.text(SNAPSHOT).await, "the schema after all of that");
    let seen: BTreeSet<&str> = broken.iter().map(|(_, check)| *check).collect();
    assert_eq!(seen.len(), checks, "a check that nothing breaks");
}

async fn validate_broken(database: &Database, breaking: &str, file: &str) -> (Option<i32>, String, String) {
    let file = root().join("migrations").join(file).display().to_string();
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &database.url])
        .args(["-c", "BEGIN", "-c", breaking, "-f", &file])
        .output()
        .await
        .expect("psql is on PATH");
    let text = |bytes| String::from_utf8(bytes).expect("psql writes UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

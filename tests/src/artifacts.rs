//! The inventory of what each migration makes, read from a live Postgres before and after it, as the document
//! `docs/migrations/ARTIFACTS_SUMMARY.md`. It counts from the catalogues; nothing in it is written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use tokio_postgres::Client;

use crate::cluster::{Database, migrations, root};

/// The document, in the repository.
pub const NAME: &str = "docs/migrations/ARTIFACTS_SUMMARY.md";

const HEAD: &str = "\
# What the migrations make

Made by `cargo xtask types` from the catalogues of a live Postgres, before and after each file; a test compares. How each is
applied is in [DEPLOY.md](DEPLOY.md), what each is for in the file itself.
";

/// The kinds of objects, as the document calls them, in its order. An index beside a primary key counts, whether it stands
/// for a UNIQUE constraint or not.
const KINDS: [&str; 10] = [
    "tables",
    "views",
    "indexes beside primary keys",
    "unique constraints",
    "foreign keys",
    "check constraints",
    "functions and procedures",
    "types",
    "triggers",
    "policies",
];

/// Every object of the schemas `public` and `marea`: its kind, its name, how it shows in a list, and what it is.
const OBJECTS: &str = "
    WITH relation AS (
        SELECT c.oid, c.relkind, n.nspname || '.' || c.relname AS name, c.relname
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'marea')
    )
    SELECT 'tables', r.name, format('`%s` (%s columns%s)', r.name, count(a.*),
               CASE WHEN c.relrowsecurity THEN ', RLS' ELSE '' END), ''
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    LEFT JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE r.relkind IN ('r', 'p') GROUP BY r.name, c.relrowsecurity
    UNION ALL
    SELECT 'views', name, format('`%s`', name), pg_get_viewdef(oid) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT 'indexes beside primary keys', i.indexrelid::regclass::text, format('`%s`', x.relname),
           pg_get_indexdef(i.indexrelid)
    FROM pg_index AS i JOIN relation AS r ON r.oid = i.indrelid JOIN pg_class AS x ON x.oid = i.indexrelid
    WHERE NOT i.indisprimary
    UNION ALL
    SELECT CASE k.contype WHEN 'u' THEN 'unique constraints' WHEN 'f' THEN 'foreign keys' ELSE 'check constraints' END,
           r.name || ' ' || k.conname, format('`%s`', k.conname), pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k JOIN relation AS r ON r.oid = k.conrelid WHERE k.contype IN ('u', 'f', 'c')
    UNION ALL
    SELECT 'functions and procedures', p.oid::regprocedure::text,
           format('`%s.%s`', p.pronamespace::regnamespace, p.proname), pg_get_functiondef(p.oid)
    FROM pg_proc AS p WHERE p.pronamespace::regnamespace::text IN ('public', 'marea')
    UNION ALL
    SELECT 'types', name, format('`%s`', name), '' FROM relation WHERE relkind = 'c'
    UNION ALL
    SELECT 'triggers', r.name || ' ' || t.tgname, format('`%s` on `%s`', t.tgname, r.name), pg_get_triggerdef(t.oid)
    FROM pg_trigger AS t JOIN relation AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'policies', r.name || ' ' || p.polname, format('`%s`', p.polname), p.polcmd::text
    FROM pg_policy AS p JOIN relation AS r ON r.oid = p.polrelid";

/// Kind and name -> how it shows, and what it is.
type Objects = BTreeMap<(String, String), (String, String)>;

async fn objects(client: &Client) -> Objects {
    let rows = client.query(OBJECTS, &[]).await.unwrap_or_else(|error| panic!("the catalogues: {error:?}"));
    rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect()
}

/// Where the document lies.
pub fn file() -> PathBuf {
    root().join(NAME)
}

/// The whole document. The database has the fixture app and no migration; afterwards it has all.
pub async fn summary(database: &Database) -> String {
    let mut text = HEAD.to_owned();
    let mut before = objects(&database.client).await;
    for (_, path) in migrations() {
        database.file(&path).await.succeeds();
        let after = objects(&database.client).await;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = write!(text, "\n## {name}\n\n| what | count | names |\n| --- | --- | --- |\n");
        for kind in KINDS {
            let of_kind = |(key, _): &(&(String, String), &(String, String))| key.0 == kind;
            let made: Vec<&str> = after
                .iter()
                .filter(of_kind)
                .filter(|(key, _)| !before.contains_key(*key))
                .map(|(_, (shown, _))| shown.as_str())
                .collect();
            row(&mut text, kind, &made);
        }
        let replaced: BTreeSet<&str> = after
            .iter()
            .filter(|(key, (_, now))| before.get(*key).is_some_and(|(_, was)| was != now))
            .map(|(_, (shown, _))| shown.as_str())
            .collect();
        row(&mut text, "replaced", &replaced.into_iter().collect::<Vec<_>>());
        before = after;
    }
    text
}

fn row(text: &mut String, what: &str, names: &[&str]) {
    if !names.is_empty() {
        let _ = writeln!(text, "| {what} | {} | {} |", names.len(), names.join(", "));
    }
}

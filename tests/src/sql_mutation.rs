//! Mistakes that somebody could make in the SQL, by name (`tests/sql_mutations/`), and how one is made in a database that has
//! all migrations. `cargo xtask mutants --sql` makes each in turn and expects tests to fail.

use std::fs;

use serde::Deserialize;
use tokio_postgres::Client;

use crate::cluster::root;

/// Names the mistake that all databases of a test run are to have.
pub const VARIABLE: &str = "MAREA_SQL_MUTATION";
/// What a test says that fails only because its database could not be given the mistake.
pub const CANNOT: &str = "the SQL mutation cannot be made";

/// One mistake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlMutation {
    /// What it does, in words.
    pub name: String,
    /// The function in whose definition `before` stands, once.
    #[serde(default)]
    of: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
    /// The mistake itself, where it is in no function.
    #[serde(default)]
    sql: String,
    /// The tests of `--test sql` that notice it.
    pub noticed_by: String,
}

#[derive(Deserialize)]
struct List {
    mutation: Vec<SqlMutation>,
}

/// All of them.
///
/// # Panics
/// When a file cannot be read, or two have one name.
pub fn all() -> Vec<SqlMutation> {
    let folder = root().join("tests/sql_mutations");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut found: Vec<SqlMutation> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        let list: List = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        found.extend(list.mutation);
    }
    let mut names: Vec<&str> = found.iter().map(|mutation| mutation.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "{twice:?} stands there twice");
    found
}

impl SqlMutation {
    /// Makes it.
    ///
    /// # Errors
    /// When `before` is not found exactly once, or the database refuses the statement.
    pub async fn make(&self, client: &Client) -> Result<(), String> {
        let made = if self.of.is_empty() { self.sql.clone() } else { self.definition(client).await? };
        client.batch_execute(&made).await.map_err(|error| format!("{}: {error:?}", self.name))
    }

    /// The definition of its function with the mistake in it.
    async fn definition(&self, client: &Client) -> Result<String, String> {
        let query = "SELECT pg_get_functiondef(to_regproc($1))";
        let row = client.query_one(query, &[&self.of]).await.map_err(|error| format!("{error:?}"))?;
        let stands: Option<String> = row.get(0);
        let stands = stands.ok_or_else(|| format!("{}: there is not one function {}", self.name, self.of))?;
        match stands.matches(self.before.trim()).count() {
            1 => Ok(stands.replace(self.before.trim(), self.after.trim())),
            times => Err(format!(
                "{}: {} holds this {times} times, not once; bring the list up to date: {}",
                self.name,
                self.of,
                self.before.trim()
            )),
        }
    }
}

/// Makes the mistake that this test run is asked for, if it is.
///
/// # Panics
/// When it cannot be made.
pub async fn make_asked(client: &Client) {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    let asked = all().into_iter().find(|mutation| mutation.name == name);
    let asked = asked.unwrap_or_else(|| panic!("{CANNOT}: there is no {name:?}"));
    if let Err(why) = asked.make(client).await {
        panic!("{CANNOT}: {why}");
    }
}

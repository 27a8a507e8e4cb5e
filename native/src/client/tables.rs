//! The mirrored tables: rows as values of the app's own types, or as JSON, and the app's own SQL.

use std::fmt;
use std::time::Duration;

use marea_core::{
    Catalogue, Change, Engine, ListQuery, MutationId, QueryLimits, QueryResult, Recorded, Table,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Client;
use crate::worker::Of;
use crate::{Error, Watch, clock};

/// How long one query may take: the thread that owns the mirror answers nothing else meanwhile.
const QUERY_TIME: Duration = Duration::from_secs(5);

/// A mirrored table of one learner: what the catalogue describes, and row level security lets through.
///
/// A row is a JSON object: all columns, the key among them, in the forms of `docs/PROTOCOL.md` (a `bigint` and a `numeric` are
/// texts). Its methods take and give any type that serde writes and reads as such an object, [`serde_json::Value`] too.
///
/// ```no_run
/// use marea_native::{Client, ListQuery};
/// use serde::{Deserialize, Serialize};
/// use serde_json::json;
///
/// #[derive(Clone, PartialEq, Serialize, Deserialize)]
/// struct Word {
///     id: Option<String>,
///     word: String,
///     seen: i32,
/// }
///
/// # async fn example(client: Client) -> Result<(), marea_native::Error> {
/// let words = client.table("vocabulary_items");
/// let key = words.insert(&json!({ "word": "marea" })).await?.key;
/// words.add(&key, &json!({ "seen": 1 })).await?;
/// let word: Option<Word> = words.get(&key).await?;
///
/// let query = ListQuery { order: vec!["-seen".into()], limit: Some(50), ..ListQuery::default() };
/// let mut most_seen = words.watch::<Word>(query).await?;
/// while let Some(words) = most_seen.next().await {
///     println!("{} words", words.len());
/// #   break;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MirroredTable {
    client: Client,
    name: String,
}

impl Client {
    /// A mirrored table, by its name in the catalogue. Whether there is one, its calls say.
    pub fn table(&self, name: impl Into<String>) -> MirroredTable {
        MirroredTable { client: self.clone(), name: name.into() }
    }

    /// What is mirrored; `None` until the first sync, where the catalogue is learned from the server.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn catalogue(&self) -> Result<Option<Catalogue>, Error> {
        self.call(|engine| Ok(engine.catalogue().cloned())).await
    }

    /// Writes that belong together, 1 to 500: all of them or none, here and on the server. `id`: of the batch; the same one again is
    /// the same batch, and is not done again.
    ///
    /// # Errors
    ///
    /// `invalid_input` and `unknown_table` of the first one that is refused: nothing was written. As [`Client::mutate`].
    pub async fn batch(&self, id: Option<MutationId>, changes: Vec<Change>) -> Result<Vec<Recorded>, Error> {
        self.call(move |engine| engine.mutate_batch(id, changes, clock::now())).await
    }

    /// Runs one SELECT, WITH or VALUES statement of SQLite's SQL over the mirrored tables, `user_progress`, `daily_activity` and
    /// `export_history`. `params` are bound by their places; a list or an object as its JSON text, for `json_each(?)`.
    ///
    /// # Errors
    ///
    /// `query_refused` for any other statement, a second one, or a table that is not mirrored; `query_limit` for more than 10,000
    /// rows, 16 MiB or 5 s; `invalid_input` with SQLite's message for SQL that is wrong.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marea_native::Client) -> Result<(), marea_native::Error> {
    /// let sql = "SELECT level, count(*) FROM vocabulary_items WHERE seen > ? GROUP BY level";
    /// let result = client.query(sql, vec![3.into()]).await?;
    /// println!("{:?}: {} rows", result.columns, result.rows.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn query(&self, sql: impl Into<String>, params: Vec<Value>) -> Result<QueryResult, Error> {
        let sql = sql.into();
        self.call(move |engine| query(engine, &sql, &params)).await
    }

    /// What [`Client::query`] gives, now and whenever one of the tables that it reads changes and the result with it.
    ///
    /// # Errors
    ///
    /// As [`Client::query`].
    pub async fn watch_query(
        &self,
        sql: impl Into<String>,
        params: Vec<Value>,
    ) -> Result<Watch<QueryResult>, Error> {
        let sql = sql.into();
        let first = self.query(sql.clone(), params.clone()).await?;
        let tables = first.tables.iter().filter_map(|name| Table::named(name)).collect();
        self.follow(Of::Tables(tables), move |engine| query(engine, &sql, &params)).await
    }
}

fn query(engine: &mut Engine, sql: &str, params: &[Value]) -> Result<QueryResult, marea_core::Error> {
    let limits = QueryLimits { expired: Some(clock::expiry(QUERY_TIME)), ..QueryLimits::default() };
    engine.query(sql, params, limits)
}

impl MirroredTable {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a row. Its key may be among the values; where it is a UUID and is not, one is made: [`Recorded::key`] has it. Of a row
    /// that exists, here or on another device, the later values count.
    ///
    /// # Errors
    ///
    /// `unknown_table`; `invalid_input` names the column that was refused; `storage_full` and `storage_failed` mean that nothing was
    /// written.
    pub async fn insert<T: Serialize>(&self, values: &T) -> Result<Recorded, Error> {
        let (table, values) = (self.name.clone(), object(values)?);
        self.client.mutate(Change::Insert { table, key: None, values }).await
    }

    /// Sets columns of a row. Of two devices that set one, the later one wins, column by column.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::insert`]; `invalid_input` when this mirror has no such row.
    pub async fn update<T: Serialize>(&self, key: &str, values: &T) -> Result<Recorded, Error> {
        let (table, key, values) = (self.name.clone(), key.to_owned(), object(values)?);
        self.client.mutate(Change::Update { table, key, values }).await
    }

    /// Adds to counters of a row: each addition counts once, of every device.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::update`].
    pub async fn add<T: Serialize>(&self, key: &str, additions: &T) -> Result<Recorded, Error> {
        let (table, key, values) = (self.name.clone(), key.to_owned(), object(additions)?);
        self.client.mutate(Change::Add { table, key, values }).await
    }

    /// Deletes a row, everywhere. A later update of another device does not bring it back.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::insert`]. A row that this mirror does not have is deleted all the same.
    pub async fn delete(&self, key: &str) -> Result<Recorded, Error> {
        let (table, key) = (self.name.clone(), key.to_owned());
        self.client.mutate(Change::Delete { table, key }).await
    }

    /// One row; `None` when this mirror has none with this key.
    ///
    /// # Errors
    ///
    /// `unknown_table`; `invalid_input` when the row does not read as a `T`; when the mirror cannot be read.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let (table, key) = (self.name.clone(), key.to_owned());
        let row = self.client.call(move |engine| engine.get_row(&table, &key)).await?;
        Ok(row.map(|row| read(&row)).transpose()?)
    }

    /// A page of rows: those that fit the conditions, in the order that is asked for.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::get`]; `invalid_input` for a query that cannot be answered: the message says what.
    pub async fn list<T: DeserializeOwned>(&self, query: ListQuery) -> Result<Vec<T>, Error> {
        let table = self.name.clone();
        let rows = self.client.call(move |engine| engine.list_rows(&table, &query)).await?;
        Ok(rows.iter().map(|row| read(row)).collect::<Result<_, _>>()?)
    }

    /// How many rows fit the conditions, as in [`ListQuery::filter`]: all, where there are none.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::list`].
    pub async fn count(&self, filter: Map<String, Value>) -> Result<u64, Error> {
        let table = self.name.clone();
        self.client.call(move |engine| engine.count_rows(&table, &filter)).await
    }

    /// What [`MirroredTable::list`] gives, now and whenever it changes.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::list`]; `closed`.
    pub async fn watch<T>(&self, query: ListQuery) -> Result<Watch<Vec<T>>, Error>
    where
        T: DeserializeOwned + Clone + PartialEq + Send + Sync + 'static,
    {
        self.list::<T>(query.clone()).await?;
        let name = self.name.clone();
        let list =
            move |engine: &mut Engine| engine.list_rows(&name, &query)?.iter().map(|row| read(row)).collect();
        self.client.follow(self.changes(), list).await
    }

    /// What [`MirroredTable::get`] gives, now and whenever it changes.
    ///
    /// # Errors
    ///
    /// As [`MirroredTable::get`]; `closed`.
    pub async fn watch_row<T>(&self, key: &str) -> Result<Watch<Option<T>>, Error>
    where
        T: DeserializeOwned + Clone + PartialEq + Send + Sync + 'static,
    {
        self.get::<T>(key).await?;
        let (name, key) = (self.name.clone(), key.to_owned());
        let get = move |engine: &mut Engine| engine.get_row(&name, &key)?.map(|row| read(&row)).transpose();
        self.client.follow(self.changes(), get).await
    }

    fn changes(&self) -> Of {
        Of::Tables(Table::named(&self.name).into_iter().collect())
    }
}

impl fmt::Debug for MirroredTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MirroredTable").field("name", &self.name).finish_non_exhaustive()
    }
}

fn object<T: Serialize>(values: &T) -> Result<Map<String, Value>, marea_core::Error> {
    match serde_json::to_value(values) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("values", "must be an object: a struct or a map of columns")),
        Err(_) => Err(invalid("values", "cannot be written as JSON")),
    }
}

/// Reads a row as the caller's type. What serde says quotes the value that does not fit: only the rest of it is told.
fn read<T: DeserializeOwned>(row: &str) -> Result<T, marea_core::Error> {
    serde_json::from_str(row).map_err(|error| {
        let said = error.to_string();
        let problem = match said.rsplit_once(", expected ") {
            Some((_, expected)) => format!("a value is not {expected}"),
            None if said.starts_with("missing field") || said.starts_with("unknown field") => said,
            None => "is of another shape".to_owned(),
        };
        invalid("row", problem)
    })
}

fn invalid(field: &'static str, problem: impl Into<String>) -> marea_core::Error {
    marea_core::Error::InvalidInput { field, problem: problem.into() }
}

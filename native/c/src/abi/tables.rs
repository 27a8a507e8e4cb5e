//! Mirrored tables, and the app's own SQL. Rows are JSON objects: all columns, the key among them, in the forms of the protocol.

use std::ffi::c_char;

use marea_native::{Change, ListQuery, MutationId, block_on};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::{MareaClient, client_of};
use super::edge::{clear, give, give_json, guard, json, parsed, text, text_or_none};
use crate::code::MareaCode;
use crate::problem::{Problem, read_json};

/// Which rows; the first of all when C says nothing.
pub(super) unsafe fn list_query(pointer: *const c_char) -> Result<ListQuery, Problem> {
    match unsafe { text_or_none(pointer, "query")? } {
        Some(text) => read_json(text, "query"),
        None => Ok(ListQuery::default()),
    }
}

/// The values of a statement; none when C says nothing.
pub(super) unsafe fn params(pointer: *const c_char) -> Result<Vec<Value>, Problem> {
    match unsafe { text_or_none(pointer, "params")? } {
        Some(text) => read_json(text, "params"),
        None => Ok(Vec::new()),
    }
}

/// Makes a row of a mirrored table. `row` is a JSON object of its columns; a key that is a UUID is made where it is absent. `recorded`
/// is as for `marea_record_session`, and has the row's `"key"`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_insert(
    client: *const MareaClient,
    table: *const c_char,
    row: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let (table, row) = (text(table, "table")?, json::<Map<String, Value>>(row, "row")?);
            give_json(recorded, &block_on(client.table(table).insert(&row))?)
        })
    }
}

/// One row; `row` gets a JSON object, or `null` when this mirror has none with this key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_get(
    client: *const MareaClient,
    table: *const c_char,
    key: *const c_char,
    row: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(row);
        guard(error, || {
            let client = client_of(client)?;
            let (table, key) = (text(table, "table")?, text(key, "key")?);
            give_json(row, &block_on(client.table(table).get::<Value>(key))?)
        })
    }
}

/// Sets columns of a row; of two devices that set one, the later one wins. `values` is a JSON object of these columns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_update(
    client: *const MareaClient,
    table: *const c_char,
    key: *const c_char,
    values: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let (table, key) = (text(table, "table")?, text(key, "key")?);
            let values = json::<Map<String, Value>>(values, "values")?;
            give_json(recorded, &block_on(client.table(table).update(key, &values))?)
        })
    }
}

/// Adds to counters of a row; every device's additions count. `additions` is a JSON object: how much is added to which column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_add(
    client: *const MareaClient,
    table: *const c_char,
    key: *const c_char,
    additions: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let (table, key) = (text(table, "table")?, text(key, "key")?);
            let additions = json::<Map<String, Value>>(additions, "additions")?;
            give_json(recorded, &block_on(client.table(table).add(key, &additions))?)
        })
    }
}

/// Deletes a row, everywhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_delete(
    client: *const MareaClient,
    table: *const c_char,
    key: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let (table, key) = (text(table, "table")?, text(key, "key")?);
            give_json(recorded, &block_on(client.table(table).delete(key))?)
        })
    }
}

/// A page of rows. `query` is a JSON object or NULL: `"where"` (by column a value, or an object with `gt`, `gte`, `lt`, `lte`, `ne`,
/// `in`), `"order"` (columns, with `-` in front from the greatest), `"limit"` (1 to 1000, 100 when absent), `"after"` (the key of
/// the last row of the page before). `rows` gets a JSON array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_list(
    client: *const MareaClient,
    table: *const c_char,
    query: *const c_char,
    rows: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(rows);
        guard(error, || {
            let client = client_of(client)?;
            let (table, query) = (text(table, "table")?, list_query(query)?);
            give_json(rows, &block_on(client.table(table).list::<Value>(query))?)
        })
    }
}

/// How many rows there are. `filter` is a JSON object as the `"where"` of `marea_table_list`, or NULL for all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_table_count(
    client: *const MareaClient,
    table: *const c_char,
    filter: *const c_char,
    count: *mut u64,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(count, 0);
        guard(error, || {
            let client = client_of(client)?;
            let table = text(table, "table")?;
            let filter = text_or_none(filter, "filter")?.map(|text| read_json(text, "filter")).transpose()?;
            give(count, block_on(client.table(table).count(filter.unwrap_or_default()))?);
            Ok(())
        })
    }
}

/// One write of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    op: WriteOp,
    table: String,
    key: Option<String>,
    #[serde(default)]
    values: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WriteOp {
    Insert,
    Update,
    Add,
    Delete,
}

impl Write {
    fn into_change(self) -> Result<Change, Problem> {
        let Write { op, table, key, values } = self;
        if let WriteOp::Insert = op {
            return Ok(Change::Insert { table, key, values });
        }
        let missing = || Problem::Input("writes", "all but insert need a key".to_owned());
        let key = key.ok_or_else(missing)?;
        Ok(match op {
            WriteOp::Update => Change::Update { table, key, values },
            WriteOp::Add => Change::Add { table, key, values },
            WriteOp::Insert | WriteOp::Delete => Change::Delete { table, key },
        })
    }
}

/// Writes that belong together: all of them or none, here and on the server. `writes` is a JSON array of 1 to 500 objects: `"op"`
/// (`insert`, `update`, `add`, `delete`), `"table"`, `"key"`, `"values"`. `id` is a UUID or NULL: the same one again is the same
/// batch, and is not done again. `recorded` gets a JSON array, an object as of `marea_table_insert` for each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_batch(
    client: *const MareaClient,
    id: *const c_char,
    writes: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let id = if id.is_null() { None } else { Some(parsed::<MutationId>(id, "id")?) };
            let writes = json::<Vec<Write>>(writes, "writes")?;
            let changes = writes.into_iter().map(Write::into_change).collect::<Result<_, _>>()?;
            give_json(recorded, &block_on(client.batch(id, changes))?)
        })
    }
}

/// Runs one SELECT, WITH or VALUES statement of SQLite's SQL over the mirrored tables, `user_progress`, `daily_activity` and
/// `export_history`: at most 10,000 rows, 16 MiB and 5 s. `params` is a JSON array or NULL, bound by place. `result` gets
/// `{"columns": [names], "rows": [[values], ...], "tables": [those that were read]}`; integers beyond 2^53 are texts, bytes base64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_query(
    client: *const MareaClient,
    sql: *const c_char,
    params: *const c_char,
    result: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(result);
        guard(error, || {
            let client = client_of(client)?;
            let (sql, params) = (text(sql, "sql")?, self::params(params)?);
            give_json(result, &block_on(client.query(sql, params))?)
        })
    }
}

/// What is mirrored: `catalogue` gets a JSON object, or `null` before it is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_catalogue(
    client: *const MareaClient,
    catalogue: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(catalogue);
        guard(error, || {
            let found = block_on(client_of(client)?.catalogue())?;
            let document = found.map(|found| read_json::<Value>(found.to_json(), "catalogue")).transpose()?;
            give_json(catalogue, &document)
        })
    }
}

//! Tables of the app's own: rows are JSON objects of their columns, as texts, in the forms of `docs/PROTOCOL.md`.

use serde_json::{Value, json};

use crate::error::MareaError;
use crate::mirror::{Marea, Result};
use crate::records::Recorded;

#[uniffi::export]
impl Marea {
    /// Makes a row. Its key may be among the values; where it is a UUID and is not, one is made.
    pub async fn insert(&self, table: String, values: String) -> Result<Recorded> {
        self.change("insert", &table, None, &values).await
    }

    /// Sets columns of a row. Of two devices that set one, the later one wins, column by column.
    pub async fn update(&self, table: String, key: String, values: String) -> Result<Recorded> {
        self.change("update", &table, Some(&key), &values).await
    }

    /// Adds to counters of a row: each addition counts once, of every device.
    pub async fn add(&self, table: String, key: String, additions: String) -> Result<Recorded> {
        self.change("add", &table, Some(&key), &additions).await
    }

    /// Deletes a row, everywhere.
    pub async fn delete(&self, table: String, key: String) -> Result<Recorded> {
        self.change("delete", &table, Some(&key), "{}").await
    }

    /// One row; none when this mirror has none with this key.
    pub async fn row(&self, table: String, key: String) -> Result<Option<String>> {
        let row = self.text("row", json!([table, key])).await?;
        Ok(Some(row).filter(|row| row != "null"))
    }

    /// A page of rows as a JSON list. `query` is a JSON object with `where`, `order`, `limit`, `after`.
    pub async fn list(&self, table: String, query: String) -> Result<String> {
        self.text("list", json!([table, object("query", &query)?])).await
    }

    /// How many rows fit the conditions, a JSON object.
    pub async fn count(&self, table: String, conditions: String) -> Result<u64> {
        self.ask("count", json!([table, object("conditions", &conditions)?])).await
    }

    /// Runs one `SELECT`. The parameters are a JSON list; gives a JSON object with `columns`, `rows` and `tables`.
    pub async fn query(&self, sql: String, parameters: String) -> Result<String> {
        self.text("query", json!([sql, parameters])).await
    }
}

impl Marea {
    async fn change(&self, kind: &str, table: &str, key: Option<&str>, values: &str) -> Result<Recorded> {
        let id = self.calls.make_id().await?;
        let values = object("values", values)?;
        let write = json!({ "kind": kind, "id": id, "table": table, "key": key, "values": values });
        self.ask("write", json!([write])).await
    }
}

/// What serde would say quotes the text.
fn object(name: &str, text: &str) -> Result<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        _ => Err(MareaError::Failed {
            code: "invalid_input".to_owned(),
            reason: format!("{name}: expected a JSON object"),
            retry: false,
        }),
    }
}

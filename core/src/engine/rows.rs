//! What an app reads of the mirrored tables. A row is a JSON object: all columns, the key among them, as on the wire.

use serde_json::{Map, Value};

use crate::engine::Engine;
use crate::error::Error;
use crate::model::ListQuery;
use crate::store::Shape;

impl Engine {
    /// One row as a JSON text; `None` when this mirror has none with this key.
    ///
    /// # Errors
    /// [`Error::UnknownTable`] and the storage errors.
    pub fn get_row(&self, table: &str, key: &str) -> Result<Option<String>, Error> {
        self.store.read().row_json(self.shape(table)?, key)
    }

    /// A page of rows, each as a JSON text.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], [`Error::InvalidInput`] and [`Error::InvalidValue`] for a query that says something else than
    /// [`ListQuery`] describes, and the storage errors.
    pub fn list_rows(&self, table: &str, query: &ListQuery) -> Result<Vec<String>, Error> {
        self.store.read().list(self.shape(table)?, query)
    }

    /// How many rows fit a condition, as in [`ListQuery::filter`]; all when it is empty.
    ///
    /// # Errors
    /// Those of [`Engine::list_rows`].
    pub fn count_rows(&self, table: &str, filter: &Map<String, Value>) -> Result<u64, Error> {
        self.store.read().count_listed(self.shape(table)?, filter)
    }

    fn shape(&self, name: &str) -> Result<&Shape, Error> {
        let shapes = self.store.shapes();
        let table = shapes.named(name).filter(|table| table.is_of_catalogue());
        let shape = table.and_then(|table| shapes.get(table));
        shape.ok_or_else(|| Error::UnknownTable { table: name.to_owned() })
    }
}

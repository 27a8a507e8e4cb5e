//! Which rows of the server have something that this version cannot read: kept with the mirror, told in the status and in the
//! diagnostics, forgotten once the rows can be read. Columns, counts and keys; no value ever.

use serde::{Deserialize, Serialize};

use crate::engine::page::Page;
use crate::error::Error;
use crate::model::object::read_by_names_and_written;
use crate::model::{Table, Unreadable};
use crate::store::{Meta, Rows};

/// Rows of one column that are told apart at most; of more only so many are known.
const MAX_ROWS: usize = 100;

/// What is kept.
#[derive(Default, Serialize, Deserialize)]
struct Noted(Vec<Column>);

/// One column, and the keys of its rows.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Self")]
struct Column {
    table: Table,
    column: String,
    code: String,
    /// In order.
    keys: Vec<String>,
}

read_by_names_and_written!(Column);

/// Takes into account what a page brought.
pub(super) fn note(rows: Rows<'_>, page: &Page<'_>) -> Result<(), Error> {
    let before = rows.meta(Meta::Unreadable)?;
    if before.is_none() && page.unreadable.is_empty() {
        return Ok(());
    }
    let mut noted = read(before.as_deref());
    noted.forget(page);
    for unread in &page.unreadable {
        let alike = |known: &&mut Column| (known.table, &known.column) == (unread.table, &unread.column);
        let column = match noted.0.iter_mut().find(alike) {
            Some(known) => known,
            None => {
                let (column, code) = (unread.column.clone(), unread.code.to_owned());
                noted.0.push(Column { table: unread.table, column, code, keys: Vec::new() });
                noted.0.last_mut().ok_or(Error::Internal("a list lost what was put into it"))?
            }
        };
        if let (true, Err(place)) = (column.keys.len() < MAX_ROWS, column.keys.binary_search(&unread.key)) {
            column.keys.insert(place, unread.key.clone());
        }
    }
    if noted.0.is_empty() {
        return rows.clear_meta(Meta::Unreadable);
    }
    let json = serde_json::to_string(&noted).map_err(|_| Error::Internal("a note is not JSON"))?;
    rows.set_meta(Meta::Unreadable, &json)
}

/// For the status.
pub(super) fn list(rows: Rows<'_>) -> Result<Vec<Unreadable>, Error> {
    let noted = read(rows.meta(Meta::Unreadable)?.as_deref());
    let told = |Column { table, column, code, keys }| {
        let rows = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        Unreadable { table, column, code, rows }
    };
    Ok(noted.0.into_iter().map(told).collect())
}

/// A note of another version says nothing.
fn read(json: Option<&str>) -> Noted {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

impl Noted {
    /// What has come again, or is gone, is looked at anew.
    fn forget(&mut self, page: &Page<'_>) {
        let folds = page.folds.iter().map(|row| (row.table, row.key.as_str()));
        let registers = page.registers.iter().map(|(table, key, _)| (*table, key.as_str()));
        let packed = page.packed.iter().map(|(table, row)| (*table, row.key()));
        for (table, key) in folds.chain(registers).chain(packed).chain(page.deleted.iter().copied()) {
            for column in self.0.iter_mut().filter(|column| column.table == table) {
                if let Ok(place) = column.keys.binary_search_by(|known| known.as_str().cmp(key)) {
                    column.keys.remove(place);
                }
            }
        }
        self.0.retain(|column| !column.keys.is_empty());
    }
}

//! Which visible rows a transaction changed: by key while they are few, by table when they are many.

use std::collections::BTreeSet;

use crate::model::{FewMap, Table};

/// Rows of one table that are named at most. Whoever has more to read again reads the table.
const MAX_KEYS: usize = 100;

/// What changed in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg(any(test, feature = "planted-faults"))]
pub struct TableChanges {
    /// The table.
    pub table: Table,
    /// The rows, at most 100: the day in `daily_activity`, the id in `export_history`, the user's id elsewhere. `None`:
    /// any row may have changed.
    pub keys: Option<Vec<String>>,
}

/// The rows of one table; `None` is any.
type Keys = Option<BTreeSet<String>>;

/// Changed rows by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed(FewMap<Table, Keys>);

impl Changed {
    pub(super) fn of(tables: &[Table]) -> Changed {
        let mut changed = Changed::default();
        tables.iter().for_each(|table| changed.0.insert(*table, None));
        changed
    }

    pub(super) fn row(&mut self, table: Table, key: impl Into<String>) {
        let keys = self.0.get_or_insert(table, || Some(BTreeSet::new()));
        if let Some(named) = keys {
            named.insert(key.into());
            if named.len() > MAX_KEYS {
                *keys = None;
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Changed) {
        for (table, keys) in other.0.iter() {
            match keys {
                None => self.0.insert(*table, None),
                Some(keys) => keys.iter().for_each(|key| self.row(*table, key.as_str())),
            }
        }
    }

    pub(super) fn has(&self, table: Table) -> bool {
        self.0.get(&table).is_some()
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        self.0.keys().copied().collect()
    }

    #[cfg(any(test, feature = "planted-faults"))]
    pub(super) fn into_rows(self) -> Vec<TableChanges> {
        let rows = |(table, keys): (Table, Keys)| TableChanges { table, keys: keys.map(Vec::from_iter) };
        self.0.into_iter().map(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_as_long_as_they_are_few() {
        for (count, named) in [(1, Some(1)), (MAX_KEYS, Some(MAX_KEYS)), (MAX_KEYS + 1, None)] {
            let mut changed = Changed::default();
            (0..count).for_each(|key| changed.row(Table::ExportHistory, key.to_string()));
            let mut merged = Changed::default();
            merged.merge(&changed);
            for changed in [changed, merged] {
                assert!(changed.has(Table::ExportHistory) && !changed.has(Table::Sessions));
                let rows = changed.into_rows();
                assert_eq!(rows[0].keys.as_ref().map(Vec::len), named, "{count} rows");
            }
        }
    }
}

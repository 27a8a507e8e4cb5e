//! Rows that are written column by column: of all writes to a register the one with the greatest clock counts, additions to a
//! counter all count, whatever the order of arrival.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::catalogue::{Column, MirroredTable, Rule};
use crate::model::{Op, RegisterRow, RegisterWrite, TableKind, json_text};
use crate::planted::{self, Fault};

/// The row with writes on top. An update does not bring back a row that is gone, but for the one row per user, which
/// every device may begin.
pub(crate) fn overlay(
    table: &MirroredTable,
    confirmed: Option<RegisterRow>,
    writes: impl IntoIterator<Item = RegisterWrite>,
) -> Option<RegisterRow> {
    let mut row = confirmed;
    // Counters whose value is none of the server's, but what an insert of this device says.
    let mut begun = BTreeSet::new();
    for write in writes {
        let begins = write.op == Op::Insert || table.begun_by_update || planted::is(Fault::LateUpdateRevives);
        row = match (write.op, row) {
            (Op::Delete, row) if planted::is(Fault::LocalDeletionNotShown) => row,
            (Op::Delete, _) => None,
            (Op::Add, row) => row.map(|row| added(table, row, &write, &begun)),
            (_, None) if begins => Some(applied(table, RegisterRow::default(), write, true, &mut begun)),
            (_, None) => None,
            // A fact is inserted once: what has become of the row since stands.
            (Op::Insert, Some(row)) if table.table.kind() == TableKind::Events => Some(row),
            (_, Some(row)) => Some(applied(table, row, write, false, &mut begun)),
        };
    }
    row
}

fn applied(
    table: &MirroredTable,
    mut row: RegisterRow,
    write: RegisterWrite,
    is_new: bool,
    begun: &mut BTreeSet<String>,
) -> RegisterRow {
    if write.op == Op::Insert {
        let missing = |counter: &&Column| row.values.get(&counter.name).is_none_or(Value::is_null);
        begun.extend(table.counters().filter(missing).map(|counter| counter.name.clone()));
    }
    for (name, value) in write.values {
        let Some(column) = table.column(&name) else { continue };
        let value = kept_form(column, value);
        match column.rule {
            Rule::Register => {
                let newer = row.clocks.get(&name).is_none_or(|standing| *standing < write.stamp);
                if newer {
                    row.clocks.insert(name.clone(), write.stamp.clone());
                    row.values.insert(name, value);
                }
            }
            Rule::Union => {
                let standing = row.values.remove(&name).unwrap_or_default();
                row.values.insert(name, union(&standing, value));
            }
            // A counter that has not come yet begins as this device has begun it.
            Rule::Counter if is_new || row.values.get(&name).is_none_or(Value::is_null) => {
                row.values.insert(name, value);
            }
            _ if is_new => {
                row.values.insert(name, value);
            }
            // What was set once stays; what this version does not know is the server's to judge.
            _ => {}
        }
    }
    if is_new && write.op == Op::Insert {
        // Left out, a counter that cannot be null begins with its default, nearly always zero; the server's comes with the row.
        for counter in table.counters().filter(|counter| !counter.nullable) {
            row.values.entry(counter.name.as_str()).or_insert_with(|| counter.zero());
        }
    }
    row
}

/// Adds what is not in the row yet: what is sent once more is in every value that came from the server.
fn added(
    table: &MirroredTable,
    mut row: RegisterRow,
    write: &RegisterWrite,
    begun: &BTreeSet<String>,
) -> RegisterRow {
    for (name, delta) in &write.values {
        let counter = table.column(name).filter(|column| column.rule == Rule::Counter);
        let Some(column) = counter.filter(|_| write.counts || begun.contains(name)) else { continue };
        let standing = row.values.remove(name).unwrap_or_default();
        let sum = column.added(&standing, delta);
        row.values
            .insert(name.clone(), if planted::is(Fault::AdditionSetsValue) { delta.clone() } else { sum });
    }
    row
}

/// A value as rows in memory hold it: of what is kept as JSON text, that text.
fn kept_form(column: &Column, value: Value) -> Value {
    if column.kind.is_json_text() && !value.is_null() { json_text(&value).into() } else { value }
}

/// Two maps as one, both as JSON text; of two values for one key the lesser. What is no map is replaced.
fn union(standing: &Value, new: Value) -> Value {
    let read =
        |value: &Value| value.as_str().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let (Some(mut map), Some(more)) = (read(standing), read(&new)) else {
        return if new.is_null() { standing.clone() } else { new };
    };
    for (key, value) in more {
        let is_less = map.get(&key).is_none_or(|known| text_of(&value) < text_of(known));
        if is_less {
            map.insert(key, value);
        }
    }
    json_text(&map).into()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| json_text(value), str::to_owned)
}

/// A row of registers, for tests: its columns, and the clock and client that wrote each.
#[cfg(feature = "planted-faults")]
pub type MergedRow =
    Option<(Map<String, Value>, std::collections::BTreeMap<String, (crate::model::Hlc, String)>)>;

/// The engine's merge of one write, for tests that compare it with the server's. `catalogue`: of a table that is not built in.
#[cfg(feature = "planted-faults")]
pub fn merge_registers(
    table: crate::model::Table,
    catalogue: Option<&crate::catalogue::Catalogue>,
    confirmed: MergedRow,
    op: Op,
    stamp: (crate::model::Hlc, String),
    values: Map<String, Value>,
) -> MergedRow {
    use crate::model::Stamp;
    let confirmed = confirmed.map(|(values, clocks)| RegisterRow {
        values,
        clocks: clocks.into_iter().fold(
            crate::model::Clocks::default(),
            |mut all, (column, (hlc, client))| {
                all.insert(column, Stamp(hlc, client));
                all
            },
        ),
    });
    let write = RegisterWrite { op, stamp: Stamp(stamp.0, stamp.1), values, counts: true };
    let builtin = crate::catalogue::builtin().iter().find(|described| described.table == table);
    let described = builtin.or_else(|| catalogue?.table(table))?;
    let row = overlay(described, confirmed, [write])?;
    let clocks = row.clocks.into_iter().map(|(column, Stamp(hlc, client))| (column, (hlc, client)));
    Some((row.values, clocks.collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Stamp, Table};

    fn write(op: Op, clock: u64, client: &str, values: Value) -> RegisterWrite {
        let hlc = format!("{clock:013}-0000").parse().unwrap();
        RegisterWrite {
            op,
            stamp: Stamp(hlc, client.to_owned()),
            values: values.as_object().unwrap().clone(),
            counts: true,
        }
    }

    fn described(table: Table) -> &'static MirroredTable {
        crate::catalogue::builtin().iter().find(|described| described.table == table).unwrap()
    }

    fn exports() -> &'static MirroredTable {
        described(Table::ExportHistory)
    }

    #[test]
    fn the_later_clock_wins_column_by_column() {
        let made = write(Op::Insert, 1, "a", json!({"export_type": "words", "status": "pending"}));
        let done = write(Op::Merge, 3, "b", json!({"status": "completed", "export_type": "changed"}));
        let late = write(Op::Merge, 2, "c", json!({"status": "processing", "records_count": 7}));
        let row = overlay(exports(), None, [made, done, late]).unwrap();
        assert_eq!(
            Value::from(row.values),
            json!({"export_type": "words", "status": "completed", "records_count": 7})
        );
    }

    #[test]
    fn equal_clocks_are_ordered_by_client() {
        let values = |status: &str| json!({ "status": status });
        let confirmed = overlay(exports(), None, [write(Op::Insert, 1, "b", values("failed"))]);
        let row = overlay(exports(), confirmed, [write(Op::Merge, 1, "a", values("completed"))]).unwrap();
        assert_eq!(row.values["status"], "failed");
    }

    #[test]
    fn a_merge_does_not_bring_back_a_deleted_export() {
        let merge = write(Op::Merge, 9, "a", json!({"status": "failed"}));
        assert!(overlay(exports(), None, [merge]).is_none());
        let keys = write(Op::Merge, 9, "a", json!({"openai_api_key": "marea1.a.b"}));
        assert!(overlay(described(Table::UserApiKeys), None, [keys]).is_some());
    }

    proptest! {
        #[test]
        fn the_order_of_merges_never_matters(
            writes in prop::collection::vec((0u64..6, 0usize..3, 0usize..3, 0i64..50), 0..12),
            turn in 0usize..12,
        ) {
            // One client writes one column once per clock value, as a hybrid logical clock guarantees.
            let mut seen = std::collections::HashSet::new();
            let unique = writes.into_iter().filter(|(clock, client, column, _)| seen.insert((*clock, *client, *column)));
            let columns = ["status", "records_count", "file_url"];
            let writes: Vec<_> = unique
                .map(|(clock, client, column, value)| {
                    write(Op::Merge, clock, ["a", "b", "c"][client], json!({columns[column]: value}))
                })
                .collect();
            let start = Some(RegisterRow::default());
            let forwards = overlay(exports(), start.clone(), writes.clone());
            let mut turned = writes;
            if !turned.is_empty() {
                let by = turn % turned.len();
                turned.rotate_left(by);
            }
            turned.reverse();
            prop_assert!(forwards == overlay(exports(), start, turned));
        }
    }
}

//! Register columns: of all writes to a column the one with the greatest clock counts, whatever the order of arrival.

use crate::merge::{Rule, rule_of};
use crate::model::{Op, RegisterRow, RegisterWrite, Table};

/// The row with writes on top. A merge does not bring back a row that is gone, but for the one row per user, which
/// every device may begin.
pub(crate) fn overlay(
    table: Table,
    confirmed: Option<RegisterRow>,
    writes: impl IntoIterator<Item = RegisterWrite>,
) -> Option<RegisterRow> {
    let mut row = confirmed;
    for write in writes {
        let begins = write.op == Op::Insert || table == Table::UserApiKeys;
        row = match row {
            None if begins => Some(applied(table, RegisterRow::default(), write, true)),
            None => None,
            Some(row) => Some(applied(table, row, write, false)),
        };
    }
    row
}

fn applied(table: Table, mut row: RegisterRow, write: RegisterWrite, is_new: bool) -> RegisterRow {
    for (column, value) in write.values {
        match rule_of(table, &column) {
            Some(Rule::Register) => {
                let newer = row.clocks.get(&column).is_none_or(|standing| *standing < write.stamp);
                if newer {
                    row.clocks.insert(column.clone(), write.stamp.clone());
                    row.values.insert(column, value);
                }
            }
            Some(_) if is_new => {
                row.values.insert(column, value);
            }
            // What was set once stays; what this version does not know is the server's to judge.
            _ => {}
        }
    }
    row
}

/// A row of registers, for tests: its columns, and the clock and client that wrote each.
#[cfg(feature = "planted-faults")]
pub type MergedRow = Option<(
    serde_json::Map<String, serde_json::Value>,
    std::collections::BTreeMap<String, (crate::model::Hlc, String)>,
)>;

/// The engine's merge of one write, for tests that compare it with the server's.
#[cfg(feature = "planted-faults")]
pub fn merge_registers(
    table: Table,
    confirmed: MergedRow,
    op: Op,
    stamp: (crate::model::Hlc, String),
    values: serde_json::Map<String, serde_json::Value>,
) -> MergedRow {
    use crate::model::Stamp;
    let confirmed = confirmed.map(|(values, clocks)| RegisterRow {
        values,
        clocks: clocks.into_iter().map(|(column, (hlc, client))| (column, Stamp(hlc, client))).collect(),
    });
    let write = RegisterWrite { op, stamp: Stamp(stamp.0, stamp.1), values };
    let row = overlay(table, confirmed, [write])?;
    let clocks = row.clocks.into_iter().map(|(column, Stamp(hlc, client))| (column, (hlc, client)));
    Some((row.values, clocks.collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Stamp;

    fn write(op: Op, clock: u64, client: &str, values: Value) -> RegisterWrite {
        let hlc = format!("{clock:013}-0000").parse().unwrap();
        RegisterWrite {
            op,
            stamp: Stamp(hlc, client.to_owned()),
            values: values.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn the_later_clock_wins_column_by_column() {
        let made = write(Op::Insert, 1, "a", json!({"export_type": "words", "status": "pending"}));
        let done = write(Op::Merge, 3, "b", json!({"status": "completed", "export_type": "changed"}));
        let late = write(Op::Merge, 2, "c", json!({"status": "processing", "records_count": 7}));
        let row = overlay(Table::ExportHistory, None, [made, done, late]).unwrap();
        assert_eq!(
            Value::from(row.values),
            json!({"export_type": "words", "status": "completed", "records_count": 7})
        );
    }

    #[test]
    fn equal_clocks_are_ordered_by_client() {
        let values = |status: &str| json!({ "status": status });
        let confirmed = overlay(Table::ExportHistory, None, [write(Op::Insert, 1, "b", values("failed"))]);
        let row = overlay(Table::ExportHistory, confirmed, [write(Op::Merge, 1, "a", values("completed"))])
            .unwrap();
        assert_eq!(row.values["status"], "failed");
    }

    #[test]
    fn a_merge_does_not_bring_back_a_deleted_export() {
        let merge = write(Op::Merge, 9, "a", json!({"status": "failed"}));
        assert!(overlay(Table::ExportHistory, None, [merge]).is_none());
        let keys = write(Op::Merge, 9, "a", json!({"openai_api_key": "marea1.a.b"}));
        assert!(overlay(Table::UserApiKeys, None, [keys]).is_some());
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
            let forwards = overlay(Table::ExportHistory, start.clone(), writes.clone());
            let mut turned = writes;
            if !turned.is_empty() {
                let by = turn % turned.len();
                turned.rotate_left(by);
            }
            turned.reverse();
            prop_assert!(forwards == overlay(Table::ExportHistory, start, turned));
        }
    }
}

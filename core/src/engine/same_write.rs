//! Whether a call that brings the id of a mutation that is here already is the same call once more, or another one that must not
//! be dropped: an id belongs to one row of one table, and says one thing.

use serde_json::{Map, Value};

use crate::engine::plan::Plan;
use crate::error::Error;
use crate::model::{Mutation, Op, RescuedMutation, Table};
use crate::store::SentMutation;

/// What is wrong when the plan is another write than the one that is known by its id; `None` when it is the same.
pub(super) fn other_write(known: &Mutation, plan: &Plan) -> Option<Error> {
    if (known.table, known.op) != (plan.table, plan.op) || known.key != plan.key {
        let (owner, own) = (a_write(known.table, known.op), a_write(plan.table, plan.op));
        return Some(Error::invalid("id", format!("belongs to {owner} already; give {own} one of its own")));
    }
    let column = differing_column(known, plan)?;
    let owner = a_write(known.table, known.op);
    Some(Error::invalid(
        "id",
        format!(
            "belongs to {owner} with another {column} already; the same one again is for the same values"
        ),
    ))
}

/// Whether a write that comes from another mirror is the one that is known by its id. Its values are no part of that: what a caller
/// left out was filled in there.
pub(super) fn is_same_write(known: &SentMutation, other: &RescuedMutation) -> bool {
    (known.table, known.op) == (other.table, other.op) && known.key == other.key
}

fn a_write(table: Table, op: Op) -> &'static str {
    match (table, op) {
        (Table::Sessions, Op::Insert) => "a session",
        (Table::Sessions, _) => "a change of a session",
        (Table::ProgressEvents, _) => "an award",
        (Table::ExportHistory, Op::Insert) => "an export",
        (Table::ExportHistory, _) => "a change of an export",
        (Table::Mirrored(_), Op::Insert) => "a new row",
        (Table::Mirrored(_), _) => "a change of a row",
        _ => "a change of the sealed keys",
    }
}

/// The first column that the two say differently. What the caller left out says nothing, and of a key sealed twice the text
/// differs though the key does not.
fn differing_column(known: &Mutation, plan: &Plan) -> Option<String> {
    if known.values.get() == plan.values.get() || known.table == Table::UserApiKeys {
        return None;
    }
    let [before, after] = [known.values.get(), plan.values.get()].map(|json| chosen(json, &plan.assumed));
    let differs =
        |(column, value): &(&String, &Value)| !value.is_null() && before.get(*column) != Some(*value);
    after.iter().find(differs).map(|(column, _)| column.clone())
}

/// The columns without those that were assumed.
fn chosen(json: &str, assumed: &[&str]) -> Map<String, Value> {
    let mut values: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    for column in assumed {
        values.remove(*column);
        if let Some(Value::Object(data)) = values.get_mut("session_data") {
            data.remove(*column);
        }
    }
    // They were unlocked when the award was given.
    if let (true, Some(Value::Object(unlocked))) =
        (assumed.contains(&"occurred_at"), values.get_mut("achievements"))
    {
        unlocked.values_mut().for_each(|at| *at = Value::Null);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_write_has_a_name() {
        let words = Table::named("words").unwrap();
        for (table, op, expected) in [
            (Table::Sessions, Op::Insert, "a session"),
            (Table::Sessions, Op::Merge, "a change of a session"),
            (Table::Sessions, Op::Delete, "a change of a session"),
            (Table::ProgressEvents, Op::Insert, "an award"),
            (Table::ExportHistory, Op::Insert, "an export"),
            (Table::ExportHistory, Op::Merge, "a change of an export"),
            (words, Op::Insert, "a new row"),
            (words, Op::Add, "a change of a row"),
            (Table::UserApiKeys, Op::Merge, "a change of the sealed keys"),
        ] {
            assert_eq!(a_write(table, op), expected);
        }
    }
}

//! What a mutation is, in a person's words. Used wherever the queue is shown.

use marea_native::{MutationView, Op, Table, Timestamp};
use serde_json::Value;

use crate::escape::inline;
use crate::output::local;

/// What kind of work it is: "session", "award", "export".
pub(super) fn kind(view: &MutationView) -> &'static str {
    match (view.table, view.op) {
        (Table::Sessions, _) => "session",
        (Table::ProgressEvents, _) => "award",
        (Table::ExportHistory, Op::Insert) => "export",
        (Table::ExportHistory, _) => "export's change",
        (Table::UserApiKeys, _) => "API key",
        _ => "change",
    }
}

/// One line about it, with what tells it from others.
pub(super) fn about(view: &MutationView) -> String {
    let number = |column: &str, unit: &str| {
        let value = view.values.get(column).and_then(Value::as_i64).filter(|value| *value != 0)?;
        Some(format!("{value} {unit}"))
    };
    let text =
        |column: &str| view.values.get(column).and_then(Value::as_str).map(|text| inline(text).into_owned());
    let details: Vec<String> = match view.table {
        Table::Sessions => {
            [text("session_type"), number("duration_minutes", "min"), number("qa_attempts", "questions")]
                .into_iter()
                .flatten()
                .collect()
        }
        Table::ProgressEvents => {
            [number("points", "points"), number("minutes", "min"), number("vocabulary_learned", "words")]
                .into_iter()
                .flatten()
                .collect()
        }
        Table::ExportHistory => {
            [text("export_type"), text("export_format"), text("status")].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    };
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    format!("{} of {}{details}", kind(view), local(happened_at(view)))
}

/// When it took place, which may be long before it was recorded.
fn happened_at(view: &MutationView) -> Timestamp {
    let column = match view.table {
        Table::Sessions => "ended_at",
        Table::ProgressEvents => "occurred_at",
        _ => return view.recorded_at,
    };
    let told = view.values.get(column).and_then(Value::as_str).and_then(|text| text.parse().ok());
    told.unwrap_or(view.recorded_at)
}

/// "2 sessions, 1 award", the most frequent first.
pub(super) fn summary(views: &[MutationView]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for view in views {
        match counts.iter_mut().find(|(name, _)| *name == kind(view)) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind(view), 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named = counts.iter().map(|(name, count)| match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    });
    named.collect::<Vec<_>>().join(", ")
}

//! Mirrored sessions: rows that are corrected and deleted like any other, and that progress is computed from.
//!
//! What a session adds to the visible progress is what its visible row says. The confirmed rows of progress contain some of it
//! already: what the server's row said when they were confirmed. So a correction takes that out and puts the visible row in, and
//! what other devices do to sessions waits for the rows of progress that contain it, as everything of others does.

use std::collections::BTreeMap;

use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::engine::plan::Plan;
use crate::engine::registers;
use crate::error::Error;
use crate::merge::{Fact, FactKind, Fold, Streaks, overlay};
use crate::model::{
    Hlc, LocalDate, Mutation, MutationId, Op, RegisterRow, SESSION_DATA, SESSION_DAY, Table, Timestamp,
    UnixMillis, check_correction, is_column_of_session,
};
use crate::planted::{self, Fault};
use crate::store::{Meta, NewMutation, Rows};

/// What local writes do to the confirmed rows of progress.
#[derive(Default)]
pub(super) struct Corrections {
    /// What sessions add to the confirmed rows, and do not any more.
    gone: Vec<Fact>,
    /// What they add now.
    come: Vec<Fact>,
}

/// Reads what a mutation adds.
type FactOf = fn(&Mutation) -> Result<Fact, Error>;

/// Whether sessions are mirrored.
pub(super) fn are_mirrored(rows: Rows<'_>) -> bool {
    rows.shapes().get(Table::Sessions).is_some()
}

/// What the sessions add that local writes lie on.
pub(super) fn corrections(rows: Rows<'_>) -> Result<Corrections, Error> {
    let mut corrections = Corrections::default();
    if !are_mirrored(rows) {
        return Ok(corrections);
    }
    let has_confirmed = rows.has_confirmed()?;
    for key in rows.shadowed(Table::Sessions)? {
        let counted = match rows.counted(&key)? {
            _ if !has_confirmed => None,
            Some(noted) => noted,
            None => rows.shadow(Table::Sessions, &key)?.and_then(|shadow| shadow.row),
        };
        let before = counted.and_then(|row| fact_of(&row));
        let now = rows.register(Table::Sessions, &key)?.and_then(|row| fact_of(&row));
        if before != now {
            corrections.gone.extend(before);
            corrections.come.extend(now);
        }
    }
    Ok(corrections)
}

impl Corrections {
    /// Folds them, and the awards that the confirmed rows do not contain. `facts`: how many facts a day has, where that is known.
    pub(super) fn fold(
        self,
        (rows, fact_of_award): (Rows<'_>, FactOf),
        fold: &mut Fold,
        awards: Vec<Fact>,
        facts: &mut BTreeMap<LocalDate, i64>,
    ) -> Result<(), Error> {
        let Corrections { gone, mut come } = self;
        come.extend(awards);
        if gone.is_empty() && come.is_empty() {
            return Ok(());
        }
        if gone.is_empty() || planted::is(Fault::CorrectionsNotFolded) {
            fold.add(&come);
            return Ok(());
        }
        // A run that the days do not show any more is one that the app knew of before Marea came.
        let shown = Streaks::of_days(fold.days.iter().map(|(day, on)| (*day, !on.frozen))).longest;
        let longest = fold.progress.longest_streak_days;
        let kept = if longest > shown { longest } else { 0 };
        for fact in &come {
            if let Some(count) = facts.get_mut(&fact.day) {
                *count += 1;
            }
        }
        fold.add(&come);
        let unknown = fold.take_out(&gone, facts);
        if unknown.contains(&true) {
            let mut beside = Vec::new();
            beside.extend(rows.counted_elsewhere()?.iter().filter_map(fact_of));
            beside.extend(rows.kept_awards()?.iter().filter_map(|award| fact_of_award(award).ok()));
            fold.set_latest(unknown, rows.latest_of_sessions()?, &beside);
        }
        fold.count_days_until(LocalDate::LAST);
        fold.progress.longest_streak_days = fold.progress.longest_streak_days.max(kept);
        Ok(())
    }
}

/// What a session's row adds. `None` for one that is not completed, or ends at no time that a clock shows.
fn fact_of(row: &RegisterRow) -> Option<Fact> {
    let ended_at: Timestamp = row.values.get("ended_at")?.as_str()?.parse().ok()?;
    // NULL and what is below 0, which others may have written, count as nothing.
    let count = |column: &str| row.values.get(column).and_then(Value::as_i64).unwrap_or(0).max(0);
    Some(Fact {
        descriptions: count("descriptions_generated"),
        images: count("images_processed"),
        questions_answered: count("qa_attempts"),
        questions_correct: count("qa_correct"),
        vocabulary_learned: count("vocabulary_learned"),
        minutes: count("duration_minutes"),
        ..Fact::empty(FactKind::Session, ended_at, day_of(row).unwrap_or_else(|| ended_at.local_date(0)))
    })
}

/// How many facts lie on a day, as its confirmed row says: a day is there while there is one. `None`: the server did not say.
pub(super) fn facts_on(json: &str) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Counted {
        facts: Option<i64>,
    }
    serde_json::from_str::<Counted>(json).ok()?.facts
}

/// The learner's day that the row names.
fn day_of(row: &RegisterRow) -> Option<LocalDate> {
    data_of(row).get(SESSION_DAY)?.as_str().and_then(LocalDate::written)
}

fn data_of(row: &RegisterRow) -> Map<String, Value> {
    let text = row.values.get(SESSION_DATA).and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Notes what the confirmed rows contain of a session, right before the server's next row of it is taken. `knows_all`: whether they
/// contain the session as this mirror has it, where no local write lies on it.
pub(super) fn note_counted(rows: Rows<'_>, key: &str, knows_all: bool) -> Result<(), Error> {
    if let Some(shadow) = rows.shadow(Table::Sessions, key)? {
        return rows.note_counted(key, shadow.row.as_ref());
    }
    if knows_all {
        rows.note_counted(key, rows.register(Table::Sessions, key)?.as_ref())?;
    }
    Ok(())
}

/// The newest rows of progress are confirmed: they contain every session as the server has it.
pub(super) fn confirmed(rows: Rows<'_>) -> Result<(), Error> {
    if are_mirrored(rows) && rows.meta(Meta::SessionsComplete)?.is_none() {
        rows.set_meta(Meta::SessionsComplete, "true")?;
    }
    rows.clear_counted()
}

/// Sessions have come to be mirrored: those that this device has recorded and the server has are shown at once, and the server is
/// healed with them should it lose its past before all have come.
pub(super) fn begin(rows: Rows<'_>, client: &str) -> Result<(), Error> {
    rows.clear_meta(Meta::SessionsComplete)?;
    rows.clear_counted()?;
    let Some(shape) = rows.shapes().get(Table::Sessions) else { return Ok(()) };
    for key in rows.kept_sessions()? {
        let id = key.parse().map_err(|_| Error::Internal("a session's key is its id"))?;
        let Some(mutation) = rows.mutation(id)? else { continue };
        let write = rows.write_of(&mutation, client)?;
        rows.put_register(Table::Sessions, &key, overlay(&shape.table, None, [write]).as_ref())?;
    }
    Ok(())
}

/// Whether a session that the server may have lost can be inserted again as it is seen here: only a completed one can. What the app has
/// added to its columns stays behind.
pub(super) fn can_be_inserted(values: &mut Map<String, Value>, id: MutationId) -> bool {
    values.retain(|column, _| is_column_of_session(column));
    values.insert("id".to_owned(), id.to_string().into());
    values.get("ended_at").is_some() && check_correction(values).is_ok()
}

/// Completes a correction by what only the row tells: its day stays in the data that replaces the old, or becomes the one that is given.
pub(super) fn complete(rows: Rows<'_>, plan: &mut Plan) -> Result<Result<(), Error>, Error> {
    if plan.table != Table::Sessions || plan.op != Op::Merge {
        return Ok(Ok(()));
    }
    let Some(row) = rows.register(Table::Sessions, &plan.key)? else { return Ok(Ok(())) };
    let mut values: Map<String, Value> =
        serde_json::from_str(plan.values.get()).map_err(|_| Error::Internal("a change is not JSON"))?;
    let given = values.remove(SESSION_DAY);
    if given.is_some() || values.contains_key(SESSION_DATA) {
        let mut data = match values.remove(SESSION_DATA) {
            Some(Value::Object(data)) => data,
            Some(_) => Map::new(),
            None => data_of(&row),
        };
        let day = given.or_else(|| data.remove(SESSION_DAY)).or_else(|| data_of(&row).remove(SESSION_DAY));
        data.extend(day.map(|day| (SESSION_DAY.to_owned(), day)));
        values.insert(SESSION_DATA.to_owned(), data.into());
        plan.values = to_raw_value(&values).map_err(|_| Error::Internal("a change is not JSON"))?;
    }
    let number =
        |name: &str| values.get(name).or_else(|| row.values.get(name)).and_then(Value::as_i64).unwrap_or(0);
    let time = |name: &str| {
        let text = values.get(name).or_else(|| row.values.get(name)).and_then(Value::as_str);
        text.and_then(|text| text.parse::<Timestamp>().ok())
    };
    let is_named = |names: [&str; 2]| names.iter().any(|name| values.contains_key(*name));
    if is_named(["qa_correct", "qa_attempts"]) && number("qa_correct") > number("qa_attempts") {
        return Ok(Err(refused("qa_correct", "is greater than qa_attempts")));
    }
    let is_reversed = time("started_at").zip(time("ended_at")).is_some_and(|(start, end)| start > end);
    if is_named(["started_at", "ended_at"]) && is_reversed {
        return Ok(Err(refused("started_at", "is after ended_at")));
    }
    Ok(Ok(()))
}

fn refused(column: &str, problem: &str) -> Error {
    Error::InvalidValue {
        table: Table::Sessions.name().to_owned(),
        column: column.to_owned(),
        problem: problem.to_owned(),
    }
}

/// Takes back a session that nobody has been sent, as far as this program knows: row, progress and request are gone. The deletion is
/// kept, and is sent should the session come all the same: see [`deleted_here`]. One that has come already does not come again, and is
/// not taken back. Says by how many mutations the queue is shorter.
pub(super) fn take_back(
    rows: Rows<'_>,
    plan: &Plan,
    (id, hlc): (MutationId, Hlc),
    now: UnixMillis,
    sent: &[MutationId],
) -> Result<i32, Error> {
    if rows.shadow(plan.table, &plan.key)?.is_some_and(|shadow| shadow.row.is_some()) {
        return Ok(0);
    }
    let taken = rows.take_back(plan.table, &plan.key, sent)?;
    if taken > 0 {
        rows.put_register(plan.table, &plan.key, None)?;
        rows.remove_shadow(plan.table, &plan.key)?;
        let (table, op, key) = (plan.table, plan.op, plan.key.clone());
        let mutation = Mutation { id, hlc, table, op, key, values: plan.values.clone(), batch: None };
        rows.insert_mutation(&NewMutation { mutation: &mutation, recorded: now })?;
        rows.keep_unsent(id)?;
    }
    Ok(taken)
}

/// Sessions that came although they were taken back or deleted here: a copy of this file had sent them, or the request that
/// carried them was on its way. Their deletions are sent now.
pub(super) fn deleted_here<'k>(
    rows: Rows<'_>,
    moved: impl Iterator<Item = &'k String>,
    client: &str,
) -> Result<(), Error> {
    for key in moved {
        if rows.register(Table::Sessions, key)?.is_some()
            && rows.keeps_deletion(Table::Sessions, key)?
            && !planted::is(Fault::TakenBackComesBack)
        {
            registers::keep_shadow(rows, Table::Sessions, key)?;
            rows.send_deletion(Table::Sessions, key)?;
            registers::refresh(rows, Table::Sessions, key, client)?;
        }
    }
    Ok(())
}

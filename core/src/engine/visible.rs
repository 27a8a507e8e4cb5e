//! Keeps the visible rows equal to the confirmed rows with the unreflected mutations on top.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::changed::Changed;
use crate::error::Error;
use crate::merge::{Fact, Fold, Streaks, count_fact};
use crate::model::{ActivityDay, Event, Hlc, Mutation, Progress, Session, Table, UserId};
use crate::planted::{self, Fault};
use crate::store::{Newest, Rows, ServerColumns};

/// Adds one new fact to the visible rows: a constant number of rows, however long the queue is. `before`: what the newest fact has
/// left, where that is known.
pub(super) fn count(
    rows: Rows<'_>,
    user_id: UserId,
    fact: &Fact,
    before: Option<Newest>,
    clock: Hlc,
) -> Result<Newest, Error> {
    let (progress, day) = before.map(|newest| (newest.progress, newest.day)).unzip();
    let progress = progress.map_or_else(|| rows.progress(user_id), |progress| Ok(Some(progress)))?;
    let day = match day.filter(|day| day.day == fact.day) {
        Some(day) => Some(day),
        None => rows.activity_day(fact.day)?,
    };
    let mut progress = progress.unwrap_or_else(|| Progress::empty(user_id));
    let mut day = day.unwrap_or_else(|| ActivityDay::empty(fact.day));
    count_fact(&mut progress, &mut day, fact);
    rows.put_activity(&day)?;
    let before = Streaks {
        current: progress.current_streak_days,
        longest: progress.longest_streak_days,
        last: progress.last_active_on,
    };
    let streaks = match before.extended_by(fact.day) {
        Some(streaks) => streaks,
        None => {
            let recounted = Streaks::of(rows.active_days()?);
            Streaks { longest: before.longest.max(recounted.longest), ..recounted }
        }
    };
    progress.current_streak_days = streaks.current;
    progress.longest_streak_days = streaks.longest;
    progress.last_active_on = streaks.last;
    rows.put_progress(&progress)?;
    Ok(Newest { progress, day, clock })
}

/// Makes the visible rows anew from what is confirmed and what is not reflected in it; writes and notes those that
/// differ.
pub(super) fn rebuild(rows: Rows<'_>, user_id: UserId, changed: &mut Changed) -> Result<(), Error> {
    let mut fold = Fold::empty(user_id);
    let mut server_columns = None;
    for (_, json) in rows.confirmed(Table::UserProgress)? {
        fold.progress = Progress { user_id, ..parse_kept(&json)? };
        server_columns = Some(parse_kept::<ServerColumns>(&json)?);
    }
    for (_, json) in rows.confirmed(Table::DailyActivity)? {
        let day: ActivityDay = parse_kept(&json)?;
        fold.days.insert(day.day, day);
    }
    let facts = rows.unreflected_facts()?.iter().map(fact_of).collect::<Result<Vec<_>, _>>()?;
    let counted = server_columns.is_none() || !planted::is(Fault::LastWriterWinsOnCounters);
    if counted && !facts.is_empty() {
        fold.add(&facts);
    }
    let mut before = BTreeMap::new();
    // Extended, not collected: collecting brings a sort of its own for every type into what a browser downloads.
    before.extend(rows.all_activity()?.into_iter().map(|day| (day.day, day)));
    for day in fold.days.values() {
        if before.remove(&day.day).as_ref() != Some(day) {
            rows.put_activity(day)?;
            changed.row(Table::DailyActivity, day.day.to_string());
        }
    }
    for gone in before.into_keys() {
        rows.remove_activity(gone)?;
        if !planted::is(Fault::EmptyDaysNotTold) {
            changed.row(Table::DailyActivity, gone.to_string());
        }
    }
    if rows.progress(user_id)?.as_ref() != Some(&fold.progress) {
        rows.put_progress(&fold.progress)?;
        changed.row(Table::UserProgress, user_id.to_string());
    }
    match server_columns {
        Some(columns) => rows.put_server_columns(user_id, &columns),
        None => Ok(()),
    }
}

/// The key of a fold row, when the row can be kept: it must read back as what the visible rows are made of, and be
/// this user's.
pub(super) fn key_of(table: Table, json: &str, user_id: UserId) -> Option<String> {
    match table {
        Table::UserProgress => {
            let progress: Progress = serde_json::from_str(json).ok()?;
            serde_json::from_str::<ServerColumns>(json).ok()?;
            (progress.user_id == user_id).then(|| user_id.to_string())
        }
        Table::DailyActivity => Some(serde_json::from_str::<ActivityDay>(json).ok()?.day.to_string()),
        _ => None,
    }
}

pub(super) fn fact_of(mutation: &Mutation) -> Result<Fact, Error> {
    let json = mutation.values.get();
    Ok(match mutation.table {
        Table::ProgressEvents => Fact::from(&parse_kept::<Event>(json)?),
        _ => Fact::from(&parse_kept::<Session>(json)?),
    })
}

/// Parses what was checked before it was kept.
fn parse_kept<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|_| Error::Internal("the mirror holds a row that it cannot read"))
}

//! Keeps the visible rows equal to the confirmed rows with the unreflected mutations on top.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::engine::changed::Changed;
use crate::engine::sessions;
use crate::error::Error;
use crate::merge::{Fact, Fold, Streaks, count_fact};
use crate::model::{
    ActivityDay, Event, FewMap, Hlc, LocalDate, Mutation, Progress, Session, Table, UserId, from_json,
};
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
    let mut day = day.unwrap_or_else(|| ActivityDay::begun(fact.day));
    let was_frozen = day.frozen;
    count_fact(&mut progress, &mut day, fact);
    rows.put_activity(&day)?;
    let before = Streaks {
        current: progress.current_streak_days,
        longest: progress.longest_streak_days,
        last: progress.last_active_on,
    };
    // Of a day that is frozen, or was, only the whole set can tell.
    let streaks = match before
        .extended_by(fact.day)
        .filter(|_| !was_frozen || before.last != Some(fact.day) && !day.frozen)
    {
        // Days that lay ahead of the server are in none of its streaks.
        Some(streaks) if streaks == before || !rows.is_active_between(before.last, fact.day)? => streaks,
        _ => {
            let recounted = Streaks::of_days(rows.active_days()?);
            Streaks { longest: before.longest.max(recounted.longest), ..recounted }
        }
    };
    progress.current_streak_days = streaks.current;
    progress.longest_streak_days = streaks.longest;
    progress.last_active_on = streaks.last;
    rows.put_progress(&progress)?;
    Ok(Newest { progress, day, clock })
}

/// The progress as read on `today`. What is stored ends at the last day that whoever wrote it had counted; days that have come
/// since belong to the streaks, and those that lie after tomorrow do not yet, whoever has counted them.
pub(super) fn as_of(rows: Rows<'_>, stored: Progress, today: LocalDate) -> Result<Progress, Error> {
    let tomorrow = if planted::is(Fault::FutureDaysCount) { LocalDate::LAST } else { today.next() };
    let (latest, future_days) = rows.days_until(tomorrow)?;
    let mut progress = Progress { future_days, ..stored };
    if latest != progress.last_active_on {
        let days = rows.active_days()?;
        let streaks = Streaks::of_days(days.into_iter().filter(|(day, _)| *day <= tomorrow));
        // What was counted once has come: unless a day that lies ahead is in it, the longest run stands.
        let stands = progress.last_active_on.is_none_or(|last| last <= tomorrow);
        let before = if stands { progress.longest_streak_days } else { 0 };
        progress.current_streak_days = streaks.current;
        progress.longest_streak_days = streaks.longest.max(before);
        progress.last_active_on = streaks.last;
    }
    progress.frozen_days = match progress.last_active_on {
        Some(last) => rows.frozen_days_of_run(last)?,
        None => 0,
    };
    Ok(progress.as_of(today))
}

/// Makes the visible rows anew from what is confirmed and what is not reflected in it; writes and notes those that
/// differ.
pub(super) fn rebuild(rows: Rows<'_>, user_id: UserId, changed: &mut Changed) -> Result<(), Error> {
    let mut fold = Fold::empty(user_id);
    let mut server_columns = None;
    for (_, json) in rows.confirmed(Table::UserProgress)? {
        fold.progress = Progress { future_days: 0, frozen_days: 0, ..parse_kept(&json)? };
        server_columns = Some(parse_kept::<ServerColumns>(&json)?);
    }
    let corrections = sessions::corrections(rows)?;
    let mut counts = BTreeMap::new();
    for (_, json) in rows.confirmed(Table::DailyActivity)? {
        let day: ActivityDay = parse_kept(&json)?;
        counts.extend(sessions::facts_on(&json).map(|facts| (day.day, facts)));
        fold.days.insert(day.day, day);
    }
    // One that this version cannot read still goes to the server, who judges it; it keeps nothing else from being shown.
    let mut facts = rows.unreflected_facts()?;
    let facts: Vec<Fact> = facts.drain(..).filter_map(|mutation| fact_of(&mutation).ok()).collect();
    let counted = server_columns.is_none() || !planted::is(Fault::LastWriterWinsOnCounters);
    if counted {
        corrections.fold((rows, fact_of), &mut fold, facts, &mut counts)?;
    }
    let mut before = BTreeMap::new();
    // Extended, not collected: collecting brings a sort of its own for every type into what a browser downloads.
    before.extend(rows.all_activity()?.into_iter().map(|day| (day.day, day)));
    for day in fold.days.values() {
        if before.get(&day.day) != Some(day) {
            rows.put_activity(day)?;
            changed.row(Table::DailyActivity, day.day.to_string());
        }
    }
    for gone in before.into_keys().filter(|day| !fold.days.contains_key(day)) {
        rows.remove_activity(gone)?;
        if !planted::is(Fault::EmptyDaysNotTold) {
            changed.row(Table::DailyActivity, gone.to_string());
        }
    }
    if rows.progress(user_id)?.as_ref() != Some(&fold.progress) {
        rows.put_progress(&fold.progress)?;
        changed.row(Table::UserProgress, user_id.to_string());
    } else if changed.has(Table::DailyActivity) {
        // A streak is read from the days.
        changed.row(Table::UserProgress, user_id.to_string());
    }
    match server_columns {
        Some(columns) => rows.put_server_columns(user_id, &columns),
        None => Ok(()),
    }
}

/// What a fold row comes to.
pub(super) enum FoldRead {
    /// All of it can be read; its key.
    Whole(String),
    /// Without some columns: as JSON, and their names.
    Partly { key: String, json: String, unreadable: Vec<String> },
    /// The key, in this column, cannot be read.
    NoKey(&'static str),
    /// Another user's.
    Foreign,
}

/// Reads a fold row: it must read back as what the visible rows are made of, and be this user's. Where it does not, each column
/// is looked at alone.
pub(super) fn read_fold(table: Table, json: &str, user_id: UserId) -> FoldRead {
    let key_column = if table == Table::UserProgress { "user_id" } else { "day" };
    if let Some((key, owner)) = key_of(table, json) {
        return if owner.is_none_or(|owner| owner == user_id) {
            FoldRead::Whole(key)
        } else {
            FoldRead::Foreign
        };
    }
    let columns: FewMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
    let alone = |name: &str, raw: &RawValue| {
        let mut row = FewMap::default();
        if let Some(key) = columns.get(key_column) {
            row.insert(key_column.to_owned(), *key);
        }
        row.insert(name.to_owned(), raw);
        serde_json::to_string(&row).ok().and_then(|json| key_of(table, &json))
    };
    let Some((key, owner)) = columns.get(key_column).and_then(|raw| alone(key_column, raw)) else {
        return FoldRead::NoKey(key_column);
    };
    if owner.is_some_and(|owner| owner != user_id) {
        return FoldRead::Foreign;
    }
    let (mut readable, mut unreadable) = (FewMap::default(), Vec::new());
    for (name, raw) in columns.iter() {
        if alone(name, raw).is_some() {
            readable.insert(name.clone(), *raw);
        } else {
            unreadable.push(name.clone());
        }
    }
    let json = serde_json::to_string(&readable).unwrap_or_default();
    FoldRead::Partly { key, json, unreadable }
}

/// The key of a fold row all of which can be read, and its owner where it names one.
fn key_of(table: Table, json: &str) -> Option<(String, Option<UserId>)> {
    match table {
        Table::UserProgress => {
            let progress: Progress = from_json(json).ok()?;
            from_json::<ServerColumns>(json).ok()?;
            Some((progress.user_id.to_string(), Some(progress.user_id)))
        }
        Table::DailyActivity => Some((from_json::<ActivityDay>(json).ok()?.day.to_string(), None)),
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
    from_json(json).map_err(|_| Error::Internal("the mirror holds a row that it cannot read"))
}

//! A server's answer, read and checked as a whole: it is applied completely or not at all.
//!
//! Values are another matter: apps and jobs write to these rows too. What cannot be read of a row is left out of it and noted,
//! and nothing else of the answer suffers from it.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

use crate::engine::visible::{self, FoldRead};
use crate::model::{Clocks, FewMap, Hlc, MutationId, RegisterRow, Table, TableKind, Unreadable, UserId};
use crate::planted::{self, Fault};
use crate::store::{PackedRow, PackedRows, Packing, Shape, Shapes, read_register};
use crate::wire::{PROTOCOL, SyncAnswer, WireRow};

/// A fold row: its key, and its JSON as sent, or without what cannot be read.
pub(super) struct FoldRow<'a> {
    pub(super) table: Table,
    pub(super) key: String,
    pub(super) json: Cow<'a, str>,
}

/// What cannot be read: the column of a row, or the row, whose key is empty then.
pub(super) struct Unread {
    pub(super) table: Table,
    pub(super) column: String,
    pub(super) code: &'static str,
    pub(super) key: String,
}

/// The rows of an answer that this version mirrors.
#[derive(Default)]
pub(super) struct Page<'a> {
    pub(super) folds: Vec<FoldRow<'a>>,
    pub(super) registers: Vec<(Table, String, RegisterRow)>,
    pub(super) packed: Vec<(Table, PackedRow<'a>)>,
    pub(super) deleted: Vec<(Table, &'a str)>,
    pub(super) unreadable: Vec<Unread>,
    /// The greatest register clock in it.
    pub(super) greatest_clock: Option<Hlc>,
}

impl<'a> Page<'a> {
    /// Reads an answer. `None` when it is not one of this protocol, has a row of another user, or leaves a mutation that was
    /// sent without its result: the client would send it again and again without a pause.
    pub(super) fn read(
        answer: &'a SyncAnswer,
        sent: &[MutationId],
        user_id: UserId,
        shapes: &Shapes,
    ) -> Option<Page<'a>> {
        let mut unanswered = FewMap::default();
        sent.iter().for_each(|id| unanswered.insert(*id, ()));
        for result in &answer.results {
            unanswered.remove(&result.id);
        }
        let sound = answer.protocol == PROTOCOL && answer.cursor.version >= 0 && unanswered.is_empty();
        if !sound {
            return None;
        }
        let mut page = Page::default();
        for (name, rows) in &answer.rows {
            let Some(table) = shapes.named(name) else { continue };
            for row in rows {
                page.add(table, row, user_id, shapes)?;
            }
        }
        for (name, rows) in &answer.packed {
            let Some(shape) = shapes.named(name).and_then(|table| shapes.get(table)) else { continue };
            page.unpack(shape, rows, user_id)?;
        }
        for (name, keys) in &answer.deleted {
            if let Some(table) = shapes.named(name).filter(|table| shapes.kind(*table) != TableKind::Events) {
                page.deleted.extend(keys.iter().map(|key| (table, key.as_str())));
            }
        }
        let spoilt = planted::is(Fault::UnreadableEndsPage) && !page.unreadable.is_empty();
        (!spoilt).then_some(page)
    }

    pub(super) fn rows(&self) -> u32 {
        let registers = self.registers.len() + self.packed.len();
        u32::try_from(self.folds.len() + registers + self.deleted.len()).unwrap_or(u32::MAX)
    }

    fn add(&mut self, table: Table, row: &'a WireRow, user_id: UserId, shapes: &Shapes) -> Option<()> {
        let json = row.values.get();
        match shapes.kind(table) {
            TableKind::Events => {}
            TableKind::Fold => match visible::read_fold(table, json, user_id) {
                FoldRead::Whole(key) => self.folds.push(FoldRow { table, key, json: json.into() }),
                FoldRead::Partly { key, json, unreadable } => {
                    self.leave_out(table, &key, unreadable);
                    self.folds.push(FoldRow { table, key, json: json.into() });
                }
                FoldRead::NoKey(column) => self.leave_out_row(table, column.to_owned()),
                FoldRead::Foreign => return None,
            },
            TableKind::Registers => {
                let shape = shapes.get(table)?;
                let came: FewMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
                let owner = shape.table.owner.as_ref().and_then(|owner| came.get(owner));
                if owner.and_then(|owner| owner_of(owner)).is_some_and(|owner| owner != user_id) {
                    return None;
                }
                let Some((key, values, unreadable)) = read_register(shape, &came) else {
                    self.leave_out_row(table, shape.table.key().name.clone());
                    return Some(());
                };
                self.leave_out(table, &key, unreadable);
                let clocks = Option::<Clocks>::deserialize(&row.hlc).unwrap_or_else(|_| {
                    self.leave_out(table, &key, ["clocks".to_owned()]);
                    None
                });
                let clocks = clocks.unwrap_or_default();
                self.note_clocks(&clocks);
                self.registers.push((table, key, RegisterRow { values, clocks }));
            }
        }
        Some(())
    }

    fn unpack(&mut self, shape: &Shape, json: &'a str, user_id: UserId) -> Option<()> {
        let table = shape.table.table;
        let columns: PackedRows<'a> = serde_json::from_str(json).ok()?;
        let packing = Packing::new(shape, &columns)?;
        let owners = shape.table.owner.as_ref().and_then(|owner| columns.get(owner));
        for owner in owners.into_iter().flatten() {
            if owner_of(owner).is_none_or(|owner| owner != user_id) {
                return None;
            }
        }
        let clocks = columns.get("clocks")?;
        self.packed.reserve(clocks.len());
        let mut unreadable = Vec::new();
        for (row, clocks) in clocks.iter().enumerate() {
            let clocks = read_clocks(clocks).unwrap_or_else(|| {
                unreadable.push("clocks".to_owned());
                Clocks::default()
            });
            self.note_clocks(&clocks);
            match packing.bind(row, clocks, &mut unreadable) {
                Some(bound) if unreadable.is_empty() => self.packed.push((table, bound)),
                Some(bound) => {
                    self.leave_out(table, bound.key(), unreadable.drain(..));
                    if !planted::is(Fault::UnreadableRowDropped) {
                        self.packed.push((table, bound));
                    }
                }
                None => {
                    unreadable.clear();
                    self.leave_out_row(table, shape.table.key().name.clone());
                }
            }
        }
        Some(())
    }

    /// Notes columns that are left out of a row.
    fn leave_out(&mut self, table: Table, key: &str, columns: impl IntoIterator<Item = String>) {
        let unread = |column| Unread { table, column, code: Unreadable::VALUE, key: key.to_owned() };
        self.unreadable.extend(columns.into_iter().map(unread));
    }

    /// Notes a row that is left out, because nobody can tell which one it is.
    fn leave_out_row(&mut self, table: Table, column: String) {
        let key = String::new();
        self.unreadable.push(Unread { table, column, code: Unreadable::ROW, key });
    }

    fn note_clocks(&mut self, clocks: &Clocks) {
        let newest = clocks.values().map(|stamp| stamp.0).max();
        self.greatest_clock = self.greatest_clock.max(newest);
    }
}

fn read_clocks(json: &RawValue) -> Option<Clocks> {
    match json.get() {
        "{}" | "null" => Some(Clocks::default()),
        json => serde_json::from_str(json).ok(),
    }
}

/// An owner, if it is written as one.
fn owner_of(owner: &RawValue) -> Option<UserId> {
    serde_json::from_str(owner.get()).ok()
}

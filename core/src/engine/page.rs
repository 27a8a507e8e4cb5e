//! A server's answer, read and checked as a whole: it is applied completely or not at all.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::engine::visible;
use crate::model::{Clocks, Hlc, MutationId, RegisterRow, Table, TableKind, UserId};
use crate::store::{PackedRow, PackedRows, Packing, fits};
use crate::wire::{PROTOCOL, SyncAnswer, WireRow};

/// A fold row: its key and JSON as sent.
pub(super) struct FoldRow<'a> {
    pub(super) table: Table,
    pub(super) key: String,
    pub(super) json: &'a str,
}

/// The rows of an answer that this version mirrors.
#[derive(Default)]
pub(super) struct Page<'a> {
    pub(super) folds: Vec<FoldRow<'a>>,
    pub(super) registers: Vec<(Table, String, RegisterRow)>,
    pub(super) packed: Vec<(Table, PackedRow<'a>)>,
    pub(super) deleted: Vec<(Table, &'a str)>,
    /// The greatest register clock in it.
    pub(super) greatest_clock: Option<Hlc>,
}

impl<'a> Page<'a> {
    /// Reads an answer. `None` when any part of it cannot be kept, is another user's, or leaves a mutation that was
    /// sent without its result: the client would send it again and again without a pause.
    pub(super) fn read(answer: &'a SyncAnswer, sent: &[MutationId], user_id: UserId) -> Option<Page<'a>> {
        let answered: HashSet<MutationId> = answer.results.iter().map(|result| result.id).collect();
        let sound = answer.protocol == PROTOCOL
            && answer.cursor.version >= 0
            && sent.iter().all(|id| answered.contains(id));
        if !sound {
            return None;
        }
        let mut page = Page::default();
        for (name, rows) in &answer.rows {
            let Some(table) = Table::from_name(name) else { continue };
            for row in rows {
                page.add(table, row, user_id)?;
            }
        }
        for (name, rows) in &answer.packed {
            let Some(table) = Table::from_name(name).filter(|table| table.kind() == TableKind::Registers)
            else {
                continue;
            };
            page.unpack(table, rows, user_id)?;
        }
        for (name, keys) in &answer.deleted {
            if let Some(table) = Table::from_name(name).filter(|table| table.kind() != TableKind::Events) {
                page.deleted.extend(keys.iter().map(|key| (table, key.as_str())));
            }
        }
        Some(page)
    }

    pub(super) fn rows(&self) -> u32 {
        let registers = self.registers.len() + self.packed.len();
        u32::try_from(self.folds.len() + registers + self.deleted.len()).unwrap_or(u32::MAX)
    }

    fn add(&mut self, table: Table, row: &'a WireRow, user_id: UserId) -> Option<()> {
        let json = row.values.get();
        match table.kind() {
            TableKind::Events => {}
            TableKind::Fold => {
                let key = visible::key_of(table, json, user_id)?;
                self.folds.push(FoldRow { table, key, json });
            }
            TableKind::Registers => {
                let values: Map<String, Value> = serde_json::from_str(json).ok()?;
                let owner = values.get("user_id").and_then(Value::as_str);
                let foreign = owner.is_some_and(|owner| owner != user_id.to_string());
                if foreign || !fits(table, &values) {
                    return None;
                }
                let key_column = if table == Table::UserApiKeys { "user_id" } else { "id" };
                let key = values.get(key_column)?.as_str()?.to_owned();
                let clocks =
                    if row.hlc.is_null() { Clocks::default() } else { Clocks::deserialize(&row.hlc).ok()? };
                self.note_clocks(&clocks);
                self.registers.push((table, key, RegisterRow { values, clocks }));
            }
        }
        Some(())
    }

    fn unpack(&mut self, table: Table, json: &'a str, user_id: UserId) -> Option<()> {
        let columns: PackedRows<'a> = serde_json::from_str(json).ok()?;
        let packing = Packing::new(table, &columns)?;
        for owner in columns.get("user_id").into_iter().flatten() {
            if serde_json::from_str::<UserId>(owner.get()).ok()? != user_id {
                return None;
            }
        }
        let clocks = columns.get("clocks")?;
        self.packed.reserve(clocks.len());
        for (row, clocks) in clocks.iter().enumerate() {
            let clocks = read_clocks(clocks)?;
            self.note_clocks(&clocks);
            self.packed.push((table, packing.bind(row, clocks)?));
        }
        Some(())
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

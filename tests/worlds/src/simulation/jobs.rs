//! What the backend's own jobs do to the model of the server, in plain SQL: write to exports, delete, and write what no device can
//! read.

use marea_core::{Fold, MutationId, UserId};
use serde_json::{Map, json};
use std::rc::Rc;

use super::registers::{Write, server_clock};
use super::server::Server;

impl Server {
    /// The export worker sets an export's status, in plain SQL.
    pub(super) fn work_on_export(&mut self, user: UserId, key: &str, status: &str, now_ms: i64) -> bool {
        self.write_to_export(user, key, ("status", status), now_ms)
    }

    fn write_to_export(
        &mut self,
        user: UserId,
        key: &str,
        (column, value): (&str, &str),
        now_ms: i64,
    ) -> bool {
        let Some(books) = self.books.get_mut(&user) else { return false };
        let place = ("export_history".to_owned(), key.to_owned());
        let Some(row) = books.rows.get_mut(&place) else { return false };
        let stamp = (server_clock(row.stamps.get(column), now_ms), "server".to_owned());
        let values = Map::from_iter([(column.to_owned(), json!(value))]);
        row.merge(&values, &stamp);
        let (table, key) = place;
        books.touch(&table, &key, false);
        books.own_writes.push(Write { table, key, begins: false, stamp, values });
        true
    }

    /// A job writes, in plain SQL, what no device can read: a time of the year 20000 into an export, a number where the progress
    /// row has a time.
    pub(super) fn write_odd_values(&mut self, user: UserId, key: &str, now_ms: i64) {
        self.write_to_export(user, key, ("expires_at", "20000-01-01T00:00:00.000000Z"), now_ms);
        if let Some(books) = self.books.get_mut(&user) {
            books.is_odd = !books.is_odd;
            books.touch("user_progress", &user.to_string(), false);
        }
    }

    /// An export is deleted in plain SQL.
    pub(super) fn delete_export(&mut self, user: UserId, key: &str) -> bool {
        let Some(books) = self.books.get_mut(&user) else { return false };
        let there = books.rows.remove(&("export_history".to_owned(), key.to_owned())).is_some();
        if there {
            books.touch("export_history", key, true);
            self.deleted.insert(key.to_owned());
        }
        there
    }

    /// A session is deleted in plain SQL: its id stays taken, and the sums are made anew.
    pub(super) fn delete_fact(&mut self, user: UserId, id: MutationId) -> bool {
        let Some(books) = self.books.get_mut(&user) else { return false };
        let Some(fact) = books.facts.remove(&id) else { return false };
        books.gone.insert(id);
        let mut fold = Fold::empty(user);
        fold.add(books.facts.values().map(Rc::as_ref));
        // Achievements are never taken out.
        for (name, at) in &books.fold.progress.achievements {
            fold.progress.achievements.entry(name.clone()).or_insert(*at);
        }
        books.fold = fold;
        let deleted = !books.fold.days.contains_key(&fact.day);
        books.touch("daily_activity", &fact.day.to_string(), deleted);
        books.touch("user_progress", &user.to_string(), false);
        true
    }
}

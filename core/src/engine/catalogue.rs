//! Which tables are mirrored: those of the catalogue that the app brings, or that is learned from the server.

use crate::catalogue::Catalogue;
use crate::engine::changed::Changed;
use crate::engine::{Engine, apply, refill, registers, sessions, visible};
use crate::error::Error;
use crate::model::{Now, Table};
use crate::planted::{self, Fault};
use crate::wire::SyncAnswer;

impl Engine {
    /// Says which tables are mirrored. `Some`: those of the app's own catalogue. `None`: those that the server describes; until it
    /// has, those that this mirror had last.
    ///
    /// Tables that have changed are made again in one transaction, with their rows; whatever the rows lack then is pulled, as is
    /// everything of tables that are new. The queue stays as it is. An answer that is still under way is dropped.
    ///
    /// # Errors
    /// The storage errors: nothing has changed.
    pub fn use_catalogue(&mut self, catalogue: Option<&Catalogue>, _now: Now) -> Result<(), Error> {
        self.learns = catalogue.is_none();
        let Some(new) = catalogue.filter(|new| self.catalogue() != Some(*new)) else { return Ok(()) };
        let mut changed = Changed::default();
        if !self.adopt(new, &mut changed)? {
            return Ok(());
        }
        self.in_flight = None;
        self.ahead = None;
        self.announce_rows(&changed);
        Ok(())
    }

    /// The catalogue that the mirrored tables are made from.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.store.shapes().catalogue()
    }

    /// Takes over the catalogue that an answer brings; says whether there was a new one. One that this version cannot read changes
    /// nothing: the tables stay as they are.
    pub(super) fn learn(&mut self, answer: &SyncAnswer, changed: &mut Changed) -> Result<bool, Error> {
        let brought = answer.catalogue.as_ref().filter(|_| self.learns);
        let read = brought.and_then(|json| Catalogue::parse(json.get()).ok());
        let Some(new) = read.filter(|new| self.catalogue() != Some(new)) else { return Ok(false) };
        self.adopt(&new, changed)
    }

    /// Says whether the tables are others now. Where only labels are, nothing has to be pulled for it.
    fn adopt(&mut self, catalogue: &Catalogue, changed: &mut Changed) -> Result<bool, Error> {
        if self.catalogue().map_or(&[][..], Catalogue::mirrored) == catalogue.mirrored() {
            self.store.adopt(catalogue, |_| Ok(()))?;
            return Ok(false);
        }
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let before: Vec<Table> = self.store.shapes().mirrored().collect();
        let had_sessions = before.contains(&Table::Sessions);
        let mut folded = Changed::default();
        self.store.adopt(catalogue, |rows| {
            let has_sessions = sessions::are_mirrored(rows);
            if has_sessions && !had_sessions {
                sessions::begin(rows, &client)?;
            }
            if !planted::is(Fault::NewTablesIgnoreQueue) {
                registers::lay_all(rows, &client)?;
            }
            if has_sessions != had_sessions {
                visible::rebuild(rows, user_id, &mut folded)?;
            }
            if apply::cursor(rows)?.is_some() && !planted::is(Fault::CatalogueNotRefilled) {
                apply::rewind_cursor(rows)?;
                refill::begin_again(rows)?;
            }
            Ok(())
        })?;
        changed.merge(&folded);
        changed.merge(&Changed::of(&before));
        changed.merge(&Changed::of(&self.store.shapes().mirrored().collect::<Vec<_>>()));
        Ok(true)
    }
}

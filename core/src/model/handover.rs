//! What was done on a device before anybody signed in, on its way into an account.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::model::{Hlc, MutationId, Op, RescuedMutation, Table, UserId};

/// All that a guest's mirror holds for the account that claims it: a document that may be taken over more than once, and counts once.
#[derive(Clone)]
pub struct Handover {
    /// The account that it is for.
    pub to: UserId,
    /// The mutations, oldest first.
    pub mutations: Vec<RescuedMutation>,
    /// The names of imports that are done.
    pub imports: Vec<String>,
    /// How many mutations stay, because another account has begun to claim them.
    pub kept: u32,
}

/// A mutation as it travels: a list, whose reading is a third of what a struct's is for a browser to download.
type Line<V> = (MutationId, Hlc, Table, Op, String, V, i64, Option<MutationId>);

impl Handover {
    /// As text, to be carried from the guest's mirror to the account's.
    ///
    /// # Errors
    /// Never, but for a bug.
    pub fn to_text(&self) -> Result<String, Error> {
        let line = |m: &RescuedMutation| -> Line<Box<RawValue>> {
            (m.id, m.hlc, m.table, m.op, m.key.clone(), m.values.clone(), m.recorded_ms, m.batch)
        };
        let lines: Vec<_> = self.mutations.iter().map(line).collect();
        serde_json::to_string(&(self.to, self.kept, &self.imports, lines))
            .map_err(|_| Error::Internal("a handover is not JSON"))
    }

    /// Reads it again.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for any other text.
    pub fn from_text(text: &str) -> Result<Handover, Error> {
        let read: (UserId, u32, Vec<String>, Vec<Line<Box<RawValue>>>) = serde_json::from_str(text)
            .map_err(|_| Error::invalid("handover", "is not what a guest's mirror gives out"))?;
        let (to, kept, imports, lines) = read;
        let mutation = |(id, hlc, table, op, key, values, recorded_ms, batch): Line<Box<RawValue>>| {
            RescuedMutation { id, hlc, table, op, key, values, recorded_ms, refusal: None, batch }
        };
        Ok(Handover { to, mutations: lines.into_iter().map(mutation).collect(), imports, kept })
    }
}

/// What became of a guest's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Claimed {
    /// Writes of the guest that are in the account now, and were not before.
    pub claimed: u32,
    /// Writes of the guest that were in the account already: an earlier call was interrupted.
    pub known: u32,
    /// Writes of the guest that stay, because another account has begun to claim them on this device: they wait for it.
    pub kept: u32,
}

impl Claimed {
    /// The same as JSON.
    pub fn to_json(self) -> String {
        let Claimed { claimed, known, kept } = self;
        format!("{{\"claimed\":{claimed},\"known\":{known},\"kept\":{kept}}}")
    }
}

redacted_debug!(Handover);

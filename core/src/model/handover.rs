//! What was done on a device before anybody signed in, on its way into an account.

use serde::{Deserialize, Serialize};

use crate::model::{RescuedMutation, UserId};

/// All that a guest's mirror holds for the account that claims it: a document that may be taken over more than once, and counts once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handover {
    /// The account that it is for.
    pub to: UserId,
    /// The mutations, oldest first.
    pub mutations: Vec<RescuedMutation>,
    /// The names of imports that are done.
    #[serde(default)]
    pub imports: Vec<String>,
    /// How many mutations stay, because another account has begun to claim them.
    #[serde(default)]
    pub kept: u32,
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

redacted_debug!(Handover);

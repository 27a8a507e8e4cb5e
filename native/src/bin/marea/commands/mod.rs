//! One file for each command: open, one call, and how the result reads.

pub(crate) mod activity;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod sync;

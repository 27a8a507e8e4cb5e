//! When to talk to the server, and what a failure means for the next attempt. Pure: no network, no store.

mod backoff;
mod failure;
mod limits;
mod schedule;
mod wakeups;

pub(crate) use backoff::full_jitter_ms;
#[cfg(feature = "http")]
pub(crate) use failure::OFFLINE_CODES;
pub use failure::{Failure, TlsProblem};
pub(crate) use limits::{Limits, Load};
pub(crate) use schedule::{Due, Schedule};
pub use schedule::{Next, Signal};
pub(crate) use wakeups::{Channel, News};
pub use wakeups::{SocketAsk, SocketEvent, SocketStep};

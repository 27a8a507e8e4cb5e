//! The words of the engine as types. Parsed once, they cannot hold nonsense. Nothing here stores or sends.

/// Prints a type's name and nothing that is in it: what a learner did belongs in no log.
macro_rules! redacted_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
pub(crate) use redacted_debug;

mod activity;
mod hlc;
mod ids;
mod mutation;
mod progress;
mod session;
mod status;
mod time;

pub use activity::ActivityDay;
pub use hlc::Hlc;
pub use ids::{ClientId, MutationId, UserId};
pub use mutation::Table;
pub(crate) use mutation::{Mutation, MutationState, Op, QueuedMutation};
pub use progress::Progress;
pub use session::{Session, SessionInput};
pub use status::{Connection, Status, StatusError};
pub use time::{LocalDate, Now, Timestamp, UnixMillis};

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
mod api_key;
mod bytes_as_text;
mod calendar;
mod correction;
mod event;
mod export;
mod few;
mod few_map;
mod file;
mod handover;
mod hlc;
mod ids;
mod import;
mod json_text;
pub(crate) mod limits;
mod list_query;
mod mutation;
pub(crate) mod object;
mod progress;
mod queue_view;
mod register;
mod rescued;
mod session;
mod status;
mod table;
mod time;
mod token;
mod unreadable;
mod zone;

pub use activity::ActivityDay;
pub use api_key::{ApiKeys, KeyEnvelope, Provider};
pub(crate) use correction::{check_correction, is_column_of_session};
pub(crate) use event::Event;
pub use event::EventInput;
pub use export::{Export, ExportChange, ExportInput, ExportKey, ExportPage, ExportQuery, ExportStatus};
pub(crate) use few::sort_few;
pub(crate) use few_map::{FewMap, Pairs};
pub(crate) use file::{BUCKET, FileRecord, read_url as read_file_url};
pub use file::{FileInput, FileState, FileView};
pub use handover::{Claimed, Handover};
pub use hlc::Hlc;
pub use ids::{ClientId, MutationId, UserId};
pub(crate) use import::ImportKind;
pub use import::{ImportItem, Imported, RefusedItem};
pub(crate) use json_text::{indented, json_text};
#[cfg(feature = "planted-faults")]
pub use limits::{LIMITS, Limit, LimitKind};
pub use list_query::ListQuery;
pub use mutation::Op;
pub(crate) use mutation::{Mutation, MutationState};
pub use object::from_json;
pub(crate) use object::from_value;
pub use progress::Progress;
pub use queue_view::{MutationView, QueueView, Refusal};
pub(crate) use register::{Clocks, RegisterRow, RegisterWrite, Stamp};
pub use rescued::{Rescued, RescuedMutation, RescuedRefusal};
pub(crate) use session::{DATA as SESSION_DATA, LOCAL_DATE as SESSION_DAY};
pub use session::{Session, SessionInput};
pub use status::{Connection, FilesStatus, Status, StatusError, StorageKind, SyncLimits, WakeUps};
pub(crate) use table::TableKind;
pub use table::{Table, TableName};
pub use time::{LocalDate, Now, Timestamp, UnixMillis};
pub(crate) use token::Claims;
pub use unreadable::Unreadable;
pub(crate) use zone::Here;
pub use zone::Zone;

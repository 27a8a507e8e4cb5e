//! Marea's engine: a durable local mirror of a learner's progress, a queue of mutations, and the protocol
//! that brings both into agreement with Postgres.
//!
//! Deliberately absent: a clock, a network, threads and timers. Time comes in as [`Now`], randomness as
//! [`Entropy`]; [`Engine::next_request`] and [`Engine::apply_response`] say what to send and take what came
//! back. Hosts (the browser, the desktop) own the loop. With the feature `http` the crate also offers the
//! transport and the loop that both hosts share.
#![deny(missing_docs)]

mod catalogue;
mod engine;
mod entropy;
mod error;
mod merge;
mod model;
mod planted;
mod queue;
mod store;
mod sync;
mod transfer;
mod vault;
mod wire;

#[cfg(feature = "http")]
mod driver;
#[cfg(feature = "http")]
mod transport;

pub use catalogue::{Catalogue, RESERVED_NAMES};
#[cfg(any(test, feature = "planted-faults"))]
pub use engine::TableChanges;
pub use engine::{
    Applied, Asked, Change, Engine, FILE_QUOTA_BYTES, FileSource, Left, Outgoing, QueueCounts, Recorded,
    SetAside, Subscription, SyncMark, Ticket, Transfer, TransferFailure, TransferTicket,
};
pub use entropy::{Entropy, SystemEntropy};
pub use error::{Error, VaultError};
pub use merge::{Fact, FactKind, Fold, Rule, Streaks, rule_of};
#[cfg(feature = "planted-faults")]
pub use merge::{MergedRow, merge_registers};
pub use model::{
    ActivityDay, ApiKeys, Claimed, ClientId, Connection, EventInput, Export, ExportChange, ExportInput,
    ExportKey, ExportPage, ExportQuery, ExportStatus, FileInput, FileState, FileView, FilesStatus, Handover,
    Hlc, ImportItem, Imported, KeyEnvelope, ListQuery, LocalDate, MutationId, MutationView, Now, Op,
    Progress, Provider, QueueView, Refusal, RefusedItem, Rescued, RescuedMutation, RescuedRefusal, Session,
    SessionInput, Status, StatusError, StorageKind, SyncLimits, Table, TableName, Timestamp, UnixMillis,
    Unreadable, UserId, WakeUps, Zone, from_json,
};
#[cfg(feature = "planted-faults")]
pub use model::{LIMITS, Limit, LimitKind};
#[cfg(feature = "planted-faults")]
pub use planted::{Fault, plant};
#[cfg(feature = "planted-faults")]
pub use store::MIRROR_MIGRATIONS;
pub use store::{
    ImageKeeper, Location, MIRROR_VERSION, QueryLimits, QueryResult, apply_image_change, image_change,
};
pub use sync::{Failure, Next, Signal, SocketAsk, SocketEvent, SocketStep, TlsProblem};
pub use transfer::{TransferAnswer, TransferBody, TransferRequest};
pub use vault::{
    ApiKey, DataKey, FileHash, KeyState, KeyView, Passphrase, RecoveryCode, VaultOutcome, VaultRequest,
    VaultState, VaultStatus, VaultWork, WhichPassphrase, WorkStep, check_new_passphrase,
};
pub use wire::{
    Cursor, MutationResult, PROTOCOL, ResultStatus, SyncAnswer, SyncRequest, WireMutation, WireRow,
};

#[cfg(feature = "http")]
pub use driver::{Host, Outcome, SyncReport, sync_since, sync_until_idle};
#[cfg(all(feature = "http", target_family = "wasm"))]
pub use transport::authorization;
#[cfg(all(feature = "http", not(target_family = "wasm")))]
pub use transport::{Arriving, check_server, check_server_allowing_http, http_client_builder, why_unreached};
#[cfg(feature = "http")]
pub use transport::{Carried, Transport, refuses_api_key, retry_after_ms};

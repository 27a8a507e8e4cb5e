//! What the one who runs the Postgres does and sees: the documents followed, every version of Postgres, crashes, backups.

mod documents;
mod erasure;
mod failovers;
mod growth;
mod kill;
mod lost_history;
mod mirrored;
mod moves;
mod pairs;
mod promotions;
mod replicas;
mod restore;
mod router;
mod streaming;
mod versions;
mod views;

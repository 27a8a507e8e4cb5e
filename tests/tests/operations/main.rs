//! What the one who runs the Postgres does and sees: the documents followed, every version of Postgres, crashes, backups.

mod documents;
mod erasure;
mod kill;
mod lost_history;
mod mirrored;
mod moves;
mod pairs;
mod promotions;
mod restore;
mod versions;
mod views;

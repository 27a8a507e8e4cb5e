//! The migrations and what they serve, in real Postgres: most of it by SQL, without PostgREST.

mod access;
mod arrivals;
mod backfill;
mod concurrency;
mod cursors;
mod days;
mod files;
mod fold;
mod fold_differential;
mod idle;
mod locks;
mod mutations;
mod owners;
mod page_bytes;
mod pull;
mod push;
mod refusals;
mod register_differential;
mod registers;
mod requests;
mod schema;
mod steady;
mod tracking;
mod types;
mod values;
mod vault;

//! `marea-backend`: its processes, its Postgres, its sign-in, its faults, and PostgREST behind them.

mod auth;
mod database;
mod faults;
mod keys;
#[cfg(target_os = "linux")]
mod process;
mod realtime;
mod rest;
mod third_party;
mod turns;

//! Marea comes into an app that lives: what the preflight says, what is set aside and carried over, a year, and the way back.

mod adopt;
mod app;
mod init;
mod preflight;
mod retention;
mod validate;
mod year;

//! Seeded worlds around the engine, and the disks in memory on which they live. Part of the whole-system tests.
//!
//! A crate of its own because it is compiled optimised in every build: thousands of worlds are lived through in each test
//! run. The tests themselves are many programs that do little, and are not.

pub mod disk;
pub mod envelope;
pub mod fuzz;
pub mod mirror;
pub mod random;
pub mod simulation;
pub mod tables;
pub mod wakeups;

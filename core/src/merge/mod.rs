//! Why a value ended up as it did: every column's merge rule, and the arithmetic of the fold. Pure: no database,
//! no clock. The triggers in `migrations/` compute the same, and a test compares them column by column.

mod fold;
mod register;
mod rules;
mod streak;
#[cfg(test)]
mod tests;

pub(crate) use fold::count_fact;
pub use fold::{Fact, FactKind, Fold};
pub(crate) use register::overlay;
#[cfg(feature = "planted-faults")]
pub use register::{MergedRow, merge_registers};
pub use rules::{Rule, rule_of};
pub use streak::Streaks;

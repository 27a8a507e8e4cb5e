//! Waiting for a condition, with a bound. There is no other way to wait in these tests: a fixed sleep is either too long
//! or, on a slow machine, too short.

use std::time::Duration;

/// How long anything may take before a test calls it broken; generous, because a passing test does not wait for it.
pub const BOUND: Duration = Duration::from_secs(30);

/// Waits until `holds` gives true. `what` names the condition in the failure.
///
/// # Panics
/// When it does not hold within [`BOUND`].
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let held = tokio::time::timeout(BOUND, look).await;
    assert!(held.is_ok(), "not within {BOUND:?}: {what}");
}

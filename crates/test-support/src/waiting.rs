//! Waiting for what can only be seen by asking again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// No test waits longer for anything than this: a machine may be slow, never this slow.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `holds`.
///
/// # Panics
/// When it never does.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(becomes_true(holds).await, "never happened: {what}");
}

/// Whether it holds before [`TEST_TIMEOUT`] ends.
pub(crate) async fn becomes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !holds().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

//! Waiting for what can only be seen by asking again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// No test waits longer for anything than this: a machine may be slow, never this slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds`.
///
/// # Panics
/// When it never does.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(comes_true(holds).await, "never happened: {what}");
}

/// Whether it holds before patience ends.
pub(crate) async fn comes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

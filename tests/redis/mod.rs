//! Real Redis for tests: server processes, clusters and sentinel groups, and broken networks before
//! them.
//!
//! Whoever needs it includes it by `#[path]`. It knows nothing of what is tested; its own errors
//! are panics that say what never happened, with the server's log where there is one. Everything
//! listens on loopback ports nobody else of these tests has, writes into temporary folders, and
//! ends with the value that owns it, also when the test panics.

mod certificates;
mod chaos;
mod cluster;
mod port;
mod sentinel;
mod server;

pub use certificates::Certificates;
pub use chaos::{Chaos, Network};
pub use cluster::Cluster;
pub use port::Port;
pub use sentinel::SentinelGroup;
pub use server::{Plan, Server};

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// No test waits longer for anything than this: a machine may be slow, never this slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds`. For what can only be seen by asking again.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(comes_true(holds).await, "never happened: {what}");
}

/// Whether it holds before patience ends.
async fn comes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

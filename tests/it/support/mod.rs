//! A router in front of simulated servers, and a client that sends it requests.

mod answer;
mod footprint;
mod program;
pub mod registry;
mod router;
mod scripted;

pub use answer::{Answer, Stream};
pub use footprint::Footprint;
pub use program::Program;
pub use router::{Plan, TestRouter, configuration};
pub use scripted::{Framing, Reply, Scripted};

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// No test waits longer for anything than this: a machine may be slow, never this slow.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `holds`. For what can only be seen by polling: counters of another thread.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

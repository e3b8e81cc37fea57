//! A fleet of simulated servers with a router before it, and a client that asks it things.

mod answer;
mod footprint;
mod herd;

pub use answer::{Answer, Stream};
pub use footprint::Footprint;
pub use herd::{Herd, Plan};

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// No test waits longer for anything than this: a machine may be slow, never this slow.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`. For what can only be seen by looking: counters of another thread.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

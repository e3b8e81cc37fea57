//! When failures are too many.
//!
//! A detector counts what happened to **one** database; the client keeps one set per database, so a
//! failure that arrives late is counted where it came from. Successes arrive as numbers (commands
//! count them in one atomic), failures one by one. Detectors decide and do nothing.

mod consecutive;
mod guarded;
mod window;

use std::fmt::Debug;

use tokio::time::Instant;

pub use consecutive::ConsecutiveFailureDetector;
pub(crate) use guarded::guarded;
pub use window::CommandFailureDetector;

use super::outcome::FailureKind;

/// Counts, and says when it is enough.
pub trait FailureDetector: Debug + Send + Sync + 'static {
    /// A detector with the same settings that has seen nothing: one for each database.
    fn fresh(&self) -> Box<dyn FailureDetector>;

    /// So many commands succeeded since the last call.
    fn succeeded(&mut self, count: u64, now: Instant);

    /// A command failed. True: enough, the circuit is to open.
    fn failed(&mut self, kind: FailureKind, now: Instant) -> bool;

    /// Forgets everything: the circuit opened or closed, or there is no alternative.
    fn reset(&mut self);
}

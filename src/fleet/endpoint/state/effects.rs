//! The results of a decision, and the intervals between probes.

use std::time::Duration;

use crate::backend::Probe;

/// What the actor does after a decision.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The report has changed: publish it.
    pub changed: bool,
    /// Ask these now.
    pub ask: Vec<Probe>,
    /// A model fails: look at it again when its pause is over.
    pub reconsider: bool,
    /// The next probe needs a new connection: an open one does not show that others can be made.
    pub reconnect: bool,
    /// Requests that wait for a first byte move to other servers.
    pub eject: bool,
}

/// How often a server is asked.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Liveness.
    pub alive: Duration,
    /// What is loaded.
    pub loaded: Duration,
    /// What there is, and which version it is.
    pub models: Duration,
}

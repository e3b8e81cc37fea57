//! The results of a decision, and the intervals between probes.

use std::time::Duration;

use crate::backend::Probe;

/// A slot is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The server has to load the model for this request.
    pub cold: bool,
    /// The actor is told how it ends.
    pub watched: bool,
}

/// What the actor does after a decision.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The report has changed: publish it.
    pub changed: bool,
    /// Ask these now.
    pub ask: Vec<Probe>,
    /// A model fails: look at it again when its pause is over.
    pub reconsider: bool,
}

/// How often a server is asked.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Liveness.
    pub alive: Duration,
    /// What is loaded.
    pub loaded: Duration,
    /// What there is.
    pub models: Duration,
}

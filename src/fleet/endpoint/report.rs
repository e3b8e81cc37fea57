//! What an endpoint's actor tells the registry, and what it starts from in its next life.

use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::ModelName;
use crate::protocol::{ListedModel, RunningModel, Version};

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Never heard from.
    Unknown,
    /// Answers.
    Up,
    /// Does not answer, since then.
    Down(Instant),
}

/// What everyone may know of a server.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether it answers.
    pub phase: Phase,
    /// What it lists, as it said it. `None` until it has said so once.
    pub models: Option<Arc<[ListedModel]>>,
    /// What it had loaded when asked last, as it said it.
    pub running: Arc<[RunningModel]>,
    /// Models that are loaded, or being loaded, by its word or by its answers.
    pub warm: Arc<[ModelName]>,
    /// Which Ollama it is.
    pub version: Option<Version>,
    /// Why it does not answer, for people.
    pub trouble: Option<Arc<str>>,
}

impl Report {
    /// Nothing known yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            phase: Phase::Unknown,
            models: None,
            running: Arc::default(),
            warm: Arc::default(),
            version: None,
            trouble: None,
        }
    }
}

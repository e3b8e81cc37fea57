//! What an endpoint's actor tells the registry, and what its next incarnation starts from.

use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::ModelName;
use crate::faults::Failing;
use crate::protocol::{ListedModel, RunningModel, Version};

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Has never answered.
    Starting,
    /// Answers.
    Up,
    /// Does not answer.
    Down,
}

/// What is known of a server.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether it answers.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// What it lists, as it said it. `None` until it has said so once.
    pub models: Option<Arc<[ListedModel]>>,
    /// What it had loaded when asked last, as it said it.
    pub running: Arc<[RunningModel]>,
    /// How many of the [changes](super::Endpoint::changes) to what is loaded `running` shows.
    pub loaded_as_of: u64,
    /// Models that are loaded, or being loaded, by its lists or by its answers.
    pub warm: Arc<[ModelName]>,
    /// Which version it is, if servers of its kind report it.
    pub version: Option<Version>,
    /// Why it does not answer, or why its models are not known, for people.
    pub trouble: Option<Arc<str>>,
    /// It answers, and refuses to say what it has or has loaded.
    pub refuses: bool,
    /// The routers behind which it is, or which it is itself, by their ids as one list; mostly empty.
    pub routers: Arc<str>,
    /// Which of its models have failed, and not worked since.
    pub evidence: Arc<[Failing]>,
}

impl Report {
    /// It has answered, with its models or the reason why there are none, or was found missing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Starting => false,
            Phase::Up => self.models.is_some() || self.trouble.is_some(),
            Phase::Down => true,
        }
    }

    /// Whether the model is loaded, or being loaded.
    #[must_use]
    pub fn is_warm(&self, model: &ModelName) -> bool {
        self.warm.binary_search(model).is_ok()
    }

    /// What it says of the model, or of one with the same weights, that it has loaded: names with the same
    /// weights share what is loaded, and only the first of them is said.
    #[must_use]
    pub fn running_as(&self, model: &ModelName) -> Option<&RunningModel> {
        let by_name = self.running.iter().find(|running| running.name == *model);
        by_name.or_else(|| {
            let digest = &self.listed(model)?.digest;
            let same = |running: &&RunningModel| !digest.is_empty() && running.digest == *digest;
            self.running.iter().find(same)
        })
    }

    fn listed(&self, model: &ModelName) -> Option<&ListedModel> {
        let mut listed = self.models.iter().flat_map(|models| models.iter());
        listed.find(|listed| listed.name == *model)
    }

    /// Nothing known yet.
    #[must_use]
    pub fn unknown(now: Instant) -> Self {
        Self {
            phase: Phase::Starting,
            since: now,
            models: None,
            running: Arc::default(),
            loaded_as_of: 0,
            warm: Arc::default(),
            version: None,
            trouble: None,
            refuses: false,
            routers: Arc::default(),
            evidence: Arc::default(),
        }
    }
}

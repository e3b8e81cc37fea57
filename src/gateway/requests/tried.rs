//! One server that a request was sent to, and how it came to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::domain::ModelName;
use crate::fleet::{Considered, Endpoint};

/// One server that the request was sent to, and why that one. They are a list, in the order of the tries.
#[derive(Debug)]
pub struct Try {
    /// The model: of an alias that has fallen back, another one than before.
    pub(super) model: ModelName,
    /// How it is called.
    pub endpoint: Arc<str>,
    /// Which of the servers that have had this name.
    pub(super) generation: u64,
    /// How the request came to it.
    pub route: Option<&'static str>,
    /// The server had to load the model for it.
    pub loads: bool,
    /// All that had the model, and what spoke for and against each; nothing where no slot was needed.
    pub(super) considered: Considered,
    /// How it failed the request, in one word.
    pub(super) failure: OnceLock<&'static str>,
    pub(super) next: OnceLock<Box<Self>>,
}

/// How a request comes to a server.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct How {
    pub(in crate::gateway) route: Option<&'static str>,
    /// The server has to load the model for it.
    pub(in crate::gateway) loads: bool,
    /// How long it has waited for slots so far.
    pub(in crate::gateway) queued: Duration,
}

impl Try {
    pub(super) fn new(
        model: &ModelName,
        endpoint: &Endpoint,
        considered: Considered,
        how: How,
    ) -> Self {
        let id = endpoint.id();
        Self {
            model: model.clone(),
            endpoint: Arc::clone(&id.name),
            generation: id.generation,
            route: how.route,
            loads: how.loads,
            considered,
            failure: OnceLock::new(),
            next: OnceLock::new(),
        }
    }

    pub(super) fn next(&self) -> Option<&Self> {
        self.next.get().map(|next| &**next)
    }

    /// How the server failed the request, in one word.
    #[must_use]
    pub fn failure(&self) -> Option<&'static str> {
        self.failure.get().copied()
    }
}

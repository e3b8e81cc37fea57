//! Looking at the server, as a router would.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join3;

use super::Error;
use crate::backend::{Answer, Backend, Plan, Probe};
use crate::config::EndpointUrl;
use crate::domain::{MAX_FACT_MODELS, ServerFacts};
use crate::upstream::{Client, Remote, Target};

/// A larger list is not read.
const LIST_LIMIT: usize = 16 << 20;
/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Where it is, and what it speaks.
#[derive(Clone)]
pub(super) struct Server {
    remote: Remote,
    backend: Backend,
    client: Client,
}

/// What was seen of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Why it does not answer.
    pub(super) why: Option<String>,
    version: Option<String>,
    /// What it does not say now stays as it was.
    models: Option<Vec<String>>,
    loaded: Option<Vec<String>>,
}

impl Server {
    pub(super) fn new(url: &EndpointUrl, backend: Backend, client: Client) -> Result<Self, Error> {
        let target = Target::new(url.uri(), "")?;
        let remote = Remote {
            target: Arc::new(target),
            connections: client.connections(KEPT),
        };
        Ok(Self {
            remote,
            backend,
            client,
        })
    }

    pub(super) async fn look(&self) -> Seen {
        if let Err(why) = self.ask(Probe::Alive).await {
            return Seen {
                why: Some(why),
                ..Seen::default()
            };
        }
        let lists = join3(
            self.ask(Probe::Version),
            self.ask(Probe::Models),
            self.ask(Probe::Loaded),
        );
        let (version, models, loaded) = lists.await;
        let mut seen = Seen::default();
        for answer in [version, models, loaded].into_iter().flatten().flatten() {
            match answer {
                Answer::Alive => {}
                Answer::Version(version) => seen.version = Some(version.to_string()),
                Answer::Models(models) => {
                    let names = models.iter().take(MAX_FACT_MODELS);
                    seen.models = Some(names.map(|model| model.name.to_string()).collect());
                }
                Answer::Loaded(loaded) => {
                    let names = loaded.iter().take(MAX_FACT_MODELS);
                    seen.loaded = Some(names.map(|model| model.name.to_string()).collect());
                }
            }
        }
        seen
    }

    /// What it says; nothing of what is not asked of its kind.
    async fn ask(&self, probe: Probe) -> Result<Option<Answer>, String> {
        let Some(Plan::Send(request)) = self.backend.plan(probe) else {
            return Ok(None);
        };
        let (path, limit) = (request.path, request.timeout);
        let asked = self
            .client
            .fetch(&self.remote, request.method, path, limit, LIST_LIMIT);
        let fetched = asked.await.map_err(|failure| failure.to_string())?;
        let read = self.backend.read(probe, fetched.status, &fetched.body);
        read.map(Some).map_err(|unusable| unusable.to_string())
    }
}

impl Seen {
    /// Puts it into what is told.
    pub(super) fn tell(self, facts: &mut ServerFacts) {
        facts.why = self.why;
        facts.version = self.version.or_else(|| facts.version.take());
        if let Some(models) = self.models {
            facts.models = models;
        }
        if let Some(loaded) = self.loaded {
            facts.loaded = loaded;
        }
    }
}

//! A pull that the registry of models sees once: each server pulls the model from this router, under a name of the
//! router's own, gives it the name that was meant, and forgets the other.
//!
//! The name in between is seen by nobody: the fleet does not list it. One that is left on a server, because the
//! router or the server has crashed in that moment, takes no room of its own (the files are those of the model), and
//! goes with the next pull of that model, or when somebody deletes it by its name. Two pulls of one model that are not
//! the same call, say for different servers, would share that name: on each server they take turns, and the second
//! finds all the files there.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::runtime::Handle;

use super::Models;
use super::each::try_one;
use super::error::Error;
use super::follow::{Outgoing, Part, follow};
use super::merge::Failed;
use super::run::Means;
use super::turns::Turn;
use crate::domain::ModelName;
use crate::fleet::Endpoint;
use crate::mirror::{self, Mirror, Pinned, Reference};
use crate::protocol::ManageApi;

/// From here on a server may have the model under the name in between.
const LAST_STEP: &str = "writing manifest";

/// How a model gets to the servers.
#[derive(Clone, Debug)]
pub(super) struct Mirrored {
    mirror: Mirror,
    reference: Reference,
    /// Its name in between.
    between: String,
    /// The name that was meant.
    meant: String,
}

// === impl Models ===

impl Models {
    /// How this call gets a model to the servers, if not from its registry: models of other registries, and those
    /// that are in the cloud, are pulled as they are.
    pub(super) fn mirrored(&self, api: ManageApi, model: &str) -> Option<Mirrored> {
        let mirror = self.0.means.mirror.as_ref()?;
        let reference = Reference::of(model)?;
        let is_cloud = ModelName::parse(model).is_ok_and(|name| name.is_cloud());
        (api == ManageApi::Pull && !is_cloud).then(|| Mirrored {
            mirror: mirror.clone(),
            between: mirror.names().mirrored(&reference),
            reference,
            meant: model.to_owned(),
        })
    }

    /// Nobody makes a model that nobody would see.
    pub(super) fn check_not_own(&self, name: &ModelName) -> Result<(), Error> {
        let mirror = self.0.means.mirror.as_ref();
        match mirror.filter(|mirror| mirror.names().are_of(name)) {
            None => Ok(()),
            Some(mirror) => {
                let host = &mirror.names().pulled;
                let words = format!("names of models under {host} are the router's own");
                Err(Error::new(StatusCode::BAD_REQUEST, words))
            }
        }
    }
}

// === impl Mirrored ===

impl Mirrored {
    /// Begins: what the model is made of stays the same for all servers as long as this is pinned.
    pub(super) async fn pin(&self) -> Result<Pinned, mirror::Error> {
        self.mirror.pin(&self.reference).await
    }

    /// Why no server gets it.
    pub(super) fn failed(&self, error: &mirror::Error) -> Failed {
        Failed {
            status: None,
            // What Ollama says of a model that does not exist.
            words: match error {
                mirror::Error::NotThere => format!("pull model manifest: {error}"),
                error => format!("mirror of {}: {error}", self.reference),
            },
        }
    }

    /// Has one server pull it, under the name that was meant in the end.
    pub(super) async fn pull(
        &self,
        means: &Means,
        endpoint: &Arc<Endpoint>,
        asked: &Outgoing,
        part: &Part<'_>,
    ) -> Result<(), Failed> {
        let steps = Steps {
            means: means.clone(),
            endpoint: Arc::clone(endpoint),
            like: asked.clone(),
        };
        let insecure = !self.mirror.names().encrypted;
        let pull = steps.to(
            ManageApi::Pull,
            json!({"model": self.between, "insecure": insecure}),
        );
        let copy = steps.to(
            ManageApi::Copy,
            json!({"source": self.between, "destination": self.meant}),
        );
        let delete = steps.to(ManageApi::Delete, json!({"model": self.between}));
        let turn = means.turns.take(endpoint.name(), &self.between).await;
        let mut leftover = Leftover {
            part,
            delete: Some((steps.clone(), delete, turn)),
        };
        follow(&means.client, endpoint, &pull, means.silence, part).await?;
        let Some((_, delete, turn)) = leftover.delete.take() else {
            return Ok(());
        };
        // To its end, also when the client leaves.
        let adopted = means.tracker.spawn(async move {
            let copied = steps.ask(&copy).await;
            steps.forget(&delete).await;
            drop(turn);
            copied
        });
        adopted.await.unwrap_or_else(|error| {
            Err(Failed {
                status: None,
                words: error.to_string(),
            })
        })
    }
}

/// Short calls to one server.
#[derive(Clone)]
struct Steps {
    means: Means,
    endpoint: Arc<Endpoint>,
    /// The call that they are part of.
    like: Outgoing,
}

impl Steps {
    fn to(&self, api: ManageApi, body: serde_json::Value) -> Outgoing {
        Outgoing {
            api,
            headers: self.like.headers.clone(),
            body: Bytes::from(body.to_string()),
        }
    }

    async fn ask(&self, outgoing: &Outgoing) -> Result<(), Failed> {
        try_one(&self.means, &self.endpoint, outgoing).await
    }

    /// Deletes the name in between. What stays of it is not seen.
    async fn forget(&self, delete: &Outgoing) {
        if let Err(failed) = self.ask(delete).await {
            let (endpoint, why) = (self.endpoint.name(), &failed.words);
            tracing::warn!(%endpoint, why, "the mirror's name of a model is left on a server, unseen");
        }
    }
}

/// A server whose pull ends early may have written the name in between at its last moment.
struct Leftover<'a> {
    part: &'a Part<'a>,
    delete: Option<(Steps, Outgoing, Turn)>,
}

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        let Some((steps, delete, turn)) = self.delete.take() else {
            return;
        };
        let wrote = {
            let merge = self.part.progress.borrow();
            let share = merge.servers().get(self.part.server);
            share.is_some_and(|share| &*share.status == LAST_STEP)
        };
        if wrote && Handle::try_current().is_ok() {
            let tracker = steps.means.tracker.clone();
            tracker.spawn(async move {
                steps.forget(&delete).await;
                drop(turn);
            });
        }
    }
}

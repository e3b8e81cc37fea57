//! Copy and delete: short calls, to every server at once.
//!
//! Every server that is up is asked, whatever the fleet knows of its models: one that does not have the model
//! says so, which is as good as done where another one had it. What has begun is done to its end, also when the
//! client leaves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};

use super::Models;
use super::error::Error;
use super::follow::{Outgoing, awaited, failure, refused, remote};
use super::merge::{Failed, Share, Standing};
use super::outcome::{Call, Outcome, conclude};
use super::run::Means;
use super::start::{Asked, names};
use super::targets::{Purpose, Targets};
use crate::domain::ModelName;
use crate::fleet::Endpoint;

/// How long a server may take: it removes files.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// So many run at once, also of those whose clients have left.
pub(super) const MOST_RUNNING: usize = 64;
/// How long an answer may be, in bytes.
const LONGEST: usize = 64 << 10;

/// What became of it on one server.
enum Answered {
    Done,
    /// It does not have the model.
    Lacks,
    Failed(Failed),
}

impl Models {
    /// Copies a model on every server that has it.
    ///
    /// # Errors
    /// When it was not done, or not everywhere.
    pub async fn copy(&self, asked: Asked) -> Result<Vec<Arc<str>>, Error> {
        self.check_open()?;
        let (source, destination) = (
            asked.request.text("source")?,
            asked.request.text("destination")?,
        );
        let named = |what: &str, name: &str| {
            let invalid = |_| Error::wrong(format!("{what} {name:?} is invalid"));
            ModelName::parse(name).map_err(invalid)
        };
        let name = named("source", &source)?;
        asked.may(&name)?;
        let copy = named("destination", &destination)?;
        asked.may(&copy)?;
        self.check_not_own(&copy)?;
        let unknown = format!("model {source:?} not found");
        let endpoints = self.change(asked, name, source, unknown).await?;
        Ok(names(&endpoints))
    }

    /// Deletes a model on every server that has it.
    ///
    /// # Errors
    /// When it was not done, or not everywhere.
    pub async fn delete(&self, asked: Asked) -> Result<Vec<Arc<str>>, Error> {
        self.check_open()?;
        let spelling = asked.request.model()?;
        if spelling.is_empty() {
            return Err(Error::wrong("model is required"));
        }
        let invalid = |_| Error::wrong(format!("name {spelling:?} is invalid"));
        let name = ModelName::parse(&spelling).map_err(invalid)?;
        asked.may(&name)?;
        let unknown = format!("model '{spelling}' not found");
        let endpoints = self.change(asked, name.clone(), spelling, unknown).await?;
        for endpoint in &endpoints {
            endpoint.unloaded(&name);
        }
        Ok(names(&endpoints))
    }

    async fn change(
        &self,
        asked: Asked,
        name: ModelName,
        spelling: String,
        unknown: String,
    ) -> Result<Vec<Arc<Endpoint>>, Error> {
        let permits = Arc::clone(&self.0.changes);
        let busy = |_| Error::busy("too many models are being copied or deleted");
        let permit = permits.try_acquire_owned().map_err(busy)?;
        let targets = self.choose(Purpose::Change, Some(&name), &asked.meant)?;
        let outgoing = Outgoing {
            api: asked.request.api(),
            headers: asked.headers,
            body: asked.request.body(),
        };
        let means = self.0.means.clone();
        let done = self.to_its_end(async move {
            let _permit = permit;
            on_each(&means, targets, &outgoing, &spelling, &unknown).await
        });
        done.await?
    }
}

/// Sends it to all of them; where it was done the lists show it when this returns. `unknown`: what is said when none
/// has the model.
async fn on_each(
    means: &Means,
    targets: Targets,
    outgoing: &Outgoing,
    model: &str,
    unknown: &str,
) -> Result<Vec<Arc<Endpoint>>, Error> {
    let endpoints: Vec<_> = targets.chosen.into_iter().map(|one| one.server).collect();
    let answered = join_all(endpoints.iter().map(|one| ask(means, one, outgoing))).await;
    let (mut done, mut shares) = (Vec::new(), Vec::new());
    for (endpoint, answered) in endpoints.into_iter().zip(answered) {
        let standing = match answered {
            Answered::Lacks => continue,
            Answered::Done => Standing::Done,
            Answered::Failed(failed) => Standing::Failed(failed),
        };
        shares.push(Share {
            name: Arc::clone(endpoint.name()),
            status: "".into(),
            standing: standing.clone(),
        });
        if standing == Standing::Done {
            done.push(endpoint);
        }
    }
    means.fleet.models_changed(&done).await;
    let (verb, missed) = (outgoing.api.verb(), &targets.left_out);
    if shares.is_empty() && missed.is_empty() {
        return Err(Error::missing(unknown));
    }
    means.meters.ended(verb, &shares, !missed.is_empty());
    tracing::info!(call = verb, model, done = done.len(), "model call");
    match conclude(Call { verb, what: model }, &shares, missed) {
        Outcome::Success => Ok(done),
        Outcome::Failed { status, words } => {
            tracing::warn!(call = verb, model, why = %words, "model call has failed");
            Err(Error::new(status, words))
        }
    }
}

async fn ask(means: &Means, endpoint: &Arc<Endpoint>, outgoing: &Outgoing) -> Answered {
    match try_one(means, endpoint, outgoing).await {
        Ok(()) => Answered::Done,
        Err(failed) if failed.status == Some(StatusCode::NOT_FOUND) => Answered::Lacks,
        Err(failed) => Answered::Failed(failed),
    }
}

pub(super) async fn try_one(
    means: &Means,
    endpoint: &Arc<Endpoint>,
    outgoing: &Outgoing,
) -> Result<(), Failed> {
    let remote = remote(&means.client, endpoint);
    let Outgoing { api, headers, body } = outgoing;
    let method = api.method();
    let sent = means
        .client
        .send_to(&remote, &method, api.path(), headers, body);
    let answer = awaited(endpoint, LIMIT, sent).await?.map_err(failure)?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let rest = Limited::new(answer.into_body(), LONGEST).collect();
    let read = awaited(endpoint, LIMIT, rest).await?;
    read.map(drop).map_err(|error| Failed {
        status: None,
        words: error.to_string(),
    })
}

//! The beginning of the calls that take long: what they ask for, and for which servers they are.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::candidates::{candidates, is_held};
use super::error::Error;
use super::follow::Outgoing;
use super::jobs::{self, Key, Wanted};
use super::ongoing::Ongoing;
use super::run::Work;
use super::targets::{Candidate, LeftOut, Meant, NoTarget, Purpose, Targets, choose};
use super::{Models, Spread};
use crate::access::Scope;
use crate::domain::ModelName;
use crate::fleet::Endpoint;
use crate::protocol::ManageRequest;

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its body.
    pub request: ManageRequest,
    /// What goes on of its headers.
    pub headers: HeaderMap,
    /// The servers it may be for.
    pub meant: Meant,
    /// The models that its caller may use.
    pub scope: Scope,
    /// It goes on without its client.
    pub kept: bool,
}

// === impl Models ===

impl Models {
    /// Begins a pull, or joins the one that does the same.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn pull(&self, asked: Asked) -> Result<Ongoing, Error> {
        self.check_open()?;
        let (spelling, name) = asked.model("invalid model name")?;
        self.check_not_own(&name)?;
        let key = Key {
            model: name.clone(),
            insecure: asked.request.flag("insecure")?.unwrap_or(false),
            meant: asked.meant.clone(),
        };
        let purpose = Purpose::Get(self.spread());
        let targets = self.choose(purpose, Some(&name), &asked.meant)?;
        self.begin(asked, spelling, targets, Some(key)).await
    }

    /// Begins to push a model from a server that has it.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn push(&self, asked: Asked) -> Result<Ongoing, Error> {
        self.check_open()?;
        let (spelling, name) = asked.model("model is required")?;
        self.relist(&name).await;
        let mut targets = self.choose(Purpose::Read, Some(&name), &asked.meant)?;
        targets.left_out.clear(); // one is enough, also of those that are named
        // When none has it, the one that is asked says so.
        let having = targets.chosen.iter().filter(|one| one.has).count();
        targets.chosen.truncate(having.max(1));
        while targets.chosen.len() > 1 {
            let first = Targets {
                chosen: vec![targets.chosen.remove(0)],
                left_out: Vec::new(),
            };
            let mut ongoing = self
                .begin(asked.clone(), spelling.clone(), first, None)
                .await?;
            if ongoing.begun().await.is_ok() {
                return Ok(ongoing);
            }
            // Nothing has been said yet: the next one that has it may be able to.
        }
        self.begin(asked, spelling, targets, None).await
    }

    /// Begins to create a model.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn create(&self, asked: Asked) -> Result<Ongoing, Error> {
        self.check_open()?;
        let (spelling, name) = asked.model("invalid model name")?;
        self.check_not_own(&name)?;
        let from = asked.request.text("from")?;
        let digests = asked.request.blobs();
        // One that is no name is refused by the servers, in their words.
        let from = ModelName::parse(&from).ok();
        from.iter().try_for_each(|from| asked.may(from))?;
        let mut targets = match &from {
            Some(from) => self.having(from, &asked.meant).await?,
            None => self.choose(Purpose::Get(self.spread()), Some(&name), &asked.meant)?,
        };
        // Those that have the model it is made from are there all the same.
        let (held, free) = std::mem::take(&mut targets.chosen)
            .into_iter()
            .partition(|one: &Candidate| is_held(&one.server, Some(&name)));
        targets.chosen = free;
        let held = held.iter().map(|one: &Candidate| left_out(one, "draining"));
        targets.left_out.extend(held);
        if targets.chosen.is_empty() {
            return Err(NoTarget::Away(targets.left_out).into());
        }
        if !digests.is_empty() {
            targets = self
                .having_blobs(targets, &name, from.is_some(), &digests, &asked.meant)
                .await?;
        }
        self.begin(asked, spelling, targets, None).await
    }

    pub(super) fn spread(&self) -> Spread {
        **self.0.spread.load()
    }

    pub(super) fn choose(
        &self,
        purpose: Purpose,
        model: Option<&ModelName>,
        meant: &Meant,
    ) -> Result<Targets, NoTarget> {
        let view = self.0.means.fleet.view();
        choose(purpose, candidates(&view, model), meant)
    }

    /// A model that no server lists may be new on one.
    async fn relist(&self, model: &ModelName) {
        let fleet = &self.0.means.fleet;
        if fleet.view().model(model).is_none() {
            fleet.relist(|view| view.model(model).is_some()).await;
        }
    }

    /// Those that have the model; when there is none, those that a model goes to: they get it first.
    async fn having(&self, model: &ModelName, meant: &Meant) -> Result<Targets, NoTarget> {
        self.relist(model).await;
        let mut targets = self.choose(Purpose::Change, Some(model), meant)?;
        if targets.chosen.iter().any(|one| one.has) {
            let lacking = |one: &Candidate| !one.has && !meant.only.is_empty();
            let lacks = targets.chosen.iter().filter(|one| lacking(one));
            let lacks: Vec<_> = lacks
                .map(|one| left_out(one, "lacks the model it is made from"))
                .collect();
            targets.left_out.extend(lacks);
            targets.chosen.retain(|one| one.has);
            return Ok(targets);
        }
        self.choose(Purpose::Get(self.spread()), Some(model), meant)
    }

    async fn begin(
        &self,
        asked: Asked,
        model: String,
        targets: Targets,
        key: Option<Key>,
    ) -> Result<Ongoing, Error> {
        if targets.chosen.is_empty() {
            return Err(NoTarget::Away(targets.left_out).into()); // done on no server is not done
        }
        // Whoever named servers wants it there, and nowhere else.
        let (missed, left_out) = match asked.meant.only.is_empty() {
            true => (Vec::new(), targets.left_out),
            false => (targets.left_out, Vec::new()),
        };
        let wanted = self.wanted(&targets.chosen, asked.meant.only.is_empty());
        let endpoints = targets.chosen.into_iter().map(|one| one.server).collect();
        let work = Work {
            mirrored: self.mirrored(asked.request.api(), &model),
            outgoing: Outgoing {
                api: asked.request.api(),
                headers: asked.headers,
                body: asked.request.body(),
            },
            model,
            endpoints,
            missed,
            left_out,
        };
        let joined = self.0.jobs.join(jobs::Asked {
            key,
            kept: asked.kept,
            wanted,
            work,
        });
        Ok(Ongoing::new(joined.await?))
    }

    /// With `pull = N` the emptiest servers may be others by now: enough of them will do, and those that have the
    /// model.
    fn wanted(&self, chosen: &[Candidate], anywhere: bool) -> Wanted {
        let some = anywhere && self.spread() != Spread::All;
        let servers = chosen.iter().filter(|one| one.has || !some);
        Wanted {
            servers: servers.map(|one| Arc::clone(&one.name)).collect(),
            count: chosen.len(),
        }
    }
}

// === impl Asked ===

impl Asked {
    /// The model that it is about; `required` is said where none is named.
    fn model(&self, required: &str) -> Result<(String, ModelName), Error> {
        let spelling = self.request.model()?;
        if spelling.is_empty() {
            return Err(Error::wrong(required));
        }
        let invalid = |_| Error::wrong("invalid model name");
        let name = ModelName::parse(&spelling).map_err(invalid)?;
        self.may(&name)?;
        Ok((spelling, name))
    }

    pub(super) fn may(&self, model: &ModelName) -> Result<(), Error> {
        match self.scope.shows(model) {
            true => Ok(()),
            false => {
                let words = format!("this key may not use model '{model}'");
                Err(Error::new(StatusCode::FORBIDDEN, words))
            }
        }
    }
}

pub(super) fn left_out(candidate: &Candidate, why: &str) -> LeftOut {
    LeftOut {
        name: Arc::clone(&candidate.name),
        why: why.into(),
    }
}

pub(super) fn names(endpoints: &[Arc<Endpoint>]) -> Vec<Arc<str>> {
    endpoints.iter().map(|one| Arc::clone(one.name())).collect()
}

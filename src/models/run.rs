//! A call on several servers at once, from its beginning to its one end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::follow::{Outgoing, Part, follow};
use super::merge::{Failed, Merge};
use super::meters::Meters;
use super::mirrored::Mirrored;
use super::outcome::{Call, Outcome, conclude};
use super::targets::LeftOut;
use super::turns::Turns;
use crate::fleet::{Endpoint, Fleet};
use crate::mirror::Mirror;
use crate::upstream::Client;

/// What is done on which servers.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) outgoing: Outgoing,
    /// Servers get the model from this router.
    pub(super) mirrored: Option<Mirrored>,
    /// In the client's spelling.
    pub(super) model: String,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Servers that were named and cannot be asked: there it has failed.
    pub(super) missed: Vec<LeftOut>,
    /// Servers that are left out, and named to readers.
    pub(super) left_out: Vec<LeftOut>,
}

/// What it is done with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) fleet: Fleet,
    pub(super) client: Client,
    pub(super) mirror: Option<Mirror>,
    /// For what is not to be left half done.
    pub(super) tracker: TaskTracker,
    /// How long a server may say nothing.
    pub(super) silence: Duration,
    /// Everything ends, with an error that clients can see.
    pub(super) cutting: CancellationToken,
    pub(super) meters: Meters,
    /// Of the names in between.
    pub(super) turns: Turns,
}

impl Work {
    /// Its progress, before anything has happened.
    pub(super) fn progress(&self) -> Merge {
        let names = self.endpoints.iter().map(|one| Arc::clone(one.name()));
        Merge::new(names, self.left_out.clone())
    }

    fn call(&self) -> Call<'_> {
        Call {
            verb: self.outgoing.api.verb(),
            what: &self.model,
        }
    }
}

/// Runs it. When this is dropped, the servers notice that their client has left.
pub(super) async fn run(
    work: &Work,
    means: &Means,
    stop: &CancellationToken,
    progress: &watch::Sender<Merge>,
) {
    let (verb, model) = (work.outgoing.api.verb(), &*work.model);
    let names: Vec<&str> = work.endpoints.iter().map(|one| &**one.name()).collect();
    tracing::info!(call = verb, model, endpoints = ?names, "model call begins");
    let outcome = tokio::select! {
        () = on_all(work, means, progress) => {
            let merge = progress.borrow();
            means.meters.ended(verb, merge.servers(), !work.missed.is_empty());
            conclude(work.call(), merge.servers(), &work.missed)
        }
        () = stop.cancelled() => {
            means.meters.cancelled(verb);
            stopped(&format!("{verb} of '{model}' was cancelled"))
        }
        () = means.cutting.cancelled() => {
            means.meters.cancelled(verb);
            stopped("server is shutting down, please try again.")
        }
    };
    match &outcome {
        Outcome::Success => tracing::info!(call = verb, model, "model call has succeeded"),
        Outcome::Failed { words, .. } => {
            tracing::warn!(call = verb, model, why = %words, "model call has failed");
        }
    }
    progress.send_modify(|merge| merge.end(outcome));
}

/// On all of them. What the mirror cannot have, none of them gets.
async fn on_all(work: &Work, means: &Means, progress: &watch::Sender<Merge>) {
    let each = work.endpoints.iter().enumerate();
    let all = join_all(each.map(|(at, endpoint)| on_one(work, means, at, endpoint, progress)));
    let Some(mirrored) = &work.mirrored else {
        all.await;
        return;
    };
    progress.send_modify(Merge::begin_pull);
    let failed: Failed = match mirrored.pin().await {
        Ok(mut pinned) => tokio::select! {
            _ = all => return,
            error = pinned.failed() => mirrored.failed(&error),
        },
        Err(error) => mirrored.failed(&error),
    };
    progress.send_modify(|merge| {
        (0..work.endpoints.len()).for_each(|server| merge.failed(server, failed.clone()));
    });
}

/// On one server, its list of models included: who is told that it is done finds it in every list.
async fn on_one(
    work: &Work,
    means: &Means,
    server: usize,
    endpoint: &Arc<Endpoint>,
    progress: &watch::Sender<Merge>,
) {
    let meters = &means.meters;
    let part = Part {
        progress,
        server,
        meters,
    };
    let (client, silence) = (&means.client, means.silence);
    let followed = match &work.mirrored {
        None => follow(client, endpoint, &work.outgoing, silence, &part).await,
        Some(mirrored) => mirrored.pull(means, endpoint, &work.outgoing, &part).await,
    };
    if followed.is_ok() {
        means
            .fleet
            .models_changed(std::slice::from_ref(endpoint))
            .await;
    }
    progress.send_modify(|merge| match followed {
        Ok(()) => merge.done(server),
        Err(failed) => merge.failed(server, failed),
    });
}

fn stopped(words: &str) -> Outcome {
    Outcome::Failed {
        status: http::StatusCode::SERVICE_UNAVAILABLE,
        words: words.to_owned(),
    }
}

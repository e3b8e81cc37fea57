//! The one who knows all servers.
//!
//! Owns the [`FleetView`](super::FleetView) and is its only writer; supervises the endpoints' and
//! the lines' actors
//! and restarts them. It decides nothing about a single server and is asked by no request, except
//! once per model that has to wait for the first time. Reports that arrive together make one new
//! view. It fails by being restarted by the fleet's root: the endpoints die with it and start
//! again from the reports in the last view, while leases and their counts live on.

mod actor;
mod message;
mod state;

use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::oneshot;

pub(super) use actor::Setup;
use message::Message;

use super::endpoint::Report;
use super::waiting::Line;
use crate::domain::ModelName;
use crate::supervision::Slot;

/// The way to the registry, across its lives.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    mailbox: Slot<Message>,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self {
            mailbox: Slot::empty(),
        }
    }

    pub(super) fn attach(&self, actor: ActorRef<Message>) {
        self.mailbox.occupy(actor);
    }

    /// From an endpoint: this is what is known of me now.
    pub(super) fn reported(&self, id: usize, report: Report) {
        self.mailbox.cast(Message::Reported {
            id,
            report: Box::new(report),
        });
    }

    /// Makes the line of a model. `None` while the registry is being restarted.
    pub(super) async fn open_line(&self, model: &ModelName) -> Option<Arc<Line>> {
        let (reply, line) = oneshot::channel();
        self.mailbox.cast(Message::OpenLine {
            model: model.clone(),
            reply,
        });
        line.await.ok()
    }

    /// Kills the actor, and with it all it supervises, as a panic would. For fault drills.
    pub(super) fn kill_actor(&self) {
        if let Some(actor) = self.mailbox.occupant() {
            actor.kill();
        }
    }

    /// Stops it. A parent's death kills its children, which hold nothing that is not known to the
    /// servers or counted by leases.
    pub(super) async fn stop(&self) {
        if let Some(actor) = self.mailbox.occupant() {
            // An actor that is gone already is stopped.
            let _ = actor.stop_and_wait(None, None).await;
        }
    }
}

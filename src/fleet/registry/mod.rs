//! The one who knows all servers.
//!
//! Owns the [`FleetView`] and is its only writer; supervises the endpoints' and the lines' actors
//! and restarts them. It decides nothing about a single server and is asked by no request, except
//! once per model that has to wait for the first time. Reports that arrive together make one new
//! view. It fails by being restarted by the fleet's root: the endpoints die with it and start
//! again from the reports in the last view, while leases and their counts live on.

mod actor;
mod message;
mod state;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use tokio::sync::oneshot;

pub(super) use actor::{RegistryActor, Setup};
use message::Message;

use super::endpoint::Report;
use super::waiting::Line;
use crate::domain::ModelName;

/// The way to the registry, across its lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Handle {
    mailbox: Arc<ArcSwapOption<ActorRef<Message>>>,
}

impl Handle {
    pub(super) fn attach(&self, actor: ActorRef<Message>) {
        self.mailbox.store(Some(Arc::new(actor)));
    }

    /// From an endpoint: this is what is known of me now.
    pub(super) fn reported(&self, id: usize, report: Report) {
        self.tell(Message::Reported {
            id,
            report: Box::new(report),
        });
    }

    /// Makes the line of a model. `None` while the registry is being restarted.
    pub(super) async fn open_line(&self, model: &ModelName) -> Option<Arc<Line>> {
        let (reply, line) = oneshot::channel();
        self.tell(Message::OpenLine {
            model: model.clone(),
            reply,
        });
        line.await.ok()
    }

    /// Kills the actor, and with it all it supervises, as a panic would. For fault drills.
    pub(super) fn kill_actor(&self) {
        if let Some(actor) = &*self.mailbox.load() {
            actor.kill();
        }
    }

    fn tell(&self, message: Message) {
        if let Some(actor) = &*self.mailbox.load() {
            let _ = actor.cast(message);
        }
    }
}

//! The actor that knows all servers.
//!
//! Owns which servers there are and the [`FleetView`](super::FleetView), and is the only writer of
//! both; supervises the endpoints' and the queues' actors and restarts them. It decides nothing about
//! a single server and is asked by no request, except once per model that has to wait for the first
//! time. Reports that arrive together make one new view.
//!
//! A server that is not wanted any more is drained: it is out of the view of models at once, and when
//! its last lease has ended its actor is stopped and everything that belongs to it is dropped. It fails by being restarted by the fleet's root: the endpoints' actors end with it and start
//! again from the reports in the last view, while leases and their counts stay.

mod actor;
mod message;
mod state;

use std::sync::Arc;

pub(super) use actor::{Registry, Setup};
use message::Message;

use super::aliases::Aliases;
use super::desired::{Applied, Desired, EndpointId};
use super::endpoint::Report;
use super::queue::Queue;
use crate::domain::ModelName;
use crate::supervision::Mailbox;

/// The way to the registry, across its incarnations.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    mailbox: Mailbox<Message>,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
        }
    }

    /// The mailbox of the actor.
    pub(super) fn mailbox(&self) -> &Mailbox<Message> {
        &self.mailbox
    }

    /// From an endpoint: what is known of it now.
    pub(super) fn reported(&self, id: &EndpointId, report: Report) {
        self.mailbox.cast(Message::Reported {
            id: id.clone(),
            report: Box::new(report),
        });
    }

    /// From an endpoint that drains: its last lease has ended.
    pub(super) fn drained(&self, id: &EndpointId) {
        self.mailbox.cast(Message::Drained(id.clone()));
    }

    /// Makes these the servers of the fleet. `None` while the registry is being restarted: then it may or may
    /// not have received it.
    pub(super) async fn apply(&self, desired: &Desired) -> Option<Applied> {
        let desired = desired.clone();
        self.mailbox
            .call(|reply| Message::Apply { desired, reply })
            .await
    }

    /// Makes these the names that stand for other models. `None` as for servers.
    pub(super) async fn name(&self, aliases: &Aliases) -> Option<()> {
        let aliases = aliases.clone();
        self.mailbox
            .call(|reply| Message::Name { aliases, reply })
            .await
    }

    /// The server with an account has this model, though it does not list it. `None` as for servers.
    pub(super) async fn found(&self, model: ModelName, spelling: Box<str>) -> Option<()> {
        let found = |reply| Message::Found {
            model,
            spelling,
            reply,
        };
        self.mailbox.call(found).await
    }

    /// Makes the queue of a model. `None` while the registry is being restarted.
    pub(super) async fn open_queue(&self, model: &ModelName) -> Option<Arc<Queue>> {
        let model = model.clone();
        self.mailbox
            .call(|reply| Message::OpenQueue { model, reply })
            .await
    }

    /// Returns when the view shows every report that was sent before.
    pub(super) async fn settle(&self) {
        // Without a reply the registry is being restarted, and begins with a view of all reports.
        self.mailbox.call(Message::Settle).await;
    }

    /// Kills the actor, and with it all it supervises, as a panic would. For fault injection.
    pub(super) fn kill_actor(&self) {
        self.mailbox.kill();
    }
}

//! The messages of the registry.

use std::sync::Arc;

use crate::domain::ModelName;
use crate::fleet::aliases::Aliases;
use crate::fleet::desired::{Applied, Desired, EndpointId};
use crate::fleet::endpoint::Report;
use crate::fleet::queue::Queue;
use crate::supervision::Reply;

/// The mailbox of the registry.
#[derive(Debug)]
pub enum Message {
    /// From an endpoint: what is known of it has changed.
    Reported {
        /// Which endpoint.
        id: EndpointId,
        /// All that is known of it.
        report: Box<Report>,
    },
    /// Make these the servers of the fleet.
    Apply {
        /// All of them.
        desired: Desired,
        /// Answered when the view shows it.
        reply: Reply<Applied>,
    },
    /// Make these the names that stand for other models.
    Name {
        /// All of them.
        aliases: Aliases,
        /// Answered when the view shows it.
        reply: Reply<()>,
    },
    /// The server with an account at ollama.com has a model that it does not list.
    Found {
        /// The model.
        model: ModelName,
        /// As the server takes it.
        spelling: Box<str>,
        /// Answered when the view shows it.
        reply: Reply<()>,
    },
    /// From an endpoint that drains: its last lease has ended.
    Drained(EndpointId),
    /// From itself, behind the reports already queued: make a new view.
    Publish,
    /// From a request that has waited for reports: answered when the view shows those that came before.
    Settle(Reply<()>),
    /// From a request that is the first to wait for a model.
    OpenQueue {
        /// The model.
        model: ModelName,
        /// Where the queue is sent.
        reply: Reply<Arc<Queue>>,
    },
}

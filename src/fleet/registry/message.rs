//! What the registry is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::ModelName;
use crate::fleet::endpoint::Report;
use crate::fleet::waiting::Line;

/// The mailbox of the registry.
#[derive(Debug)]
pub enum Message {
    /// From an endpoint: what is known of it has changed.
    Reported {
        /// Which endpoint.
        id: usize,
        /// All that is known of it.
        report: Box<Report>,
    },
    /// From itself, behind the reports already queued: make a new view.
    Publish,
    /// From a timer: a dead server's models may have to disappear.
    Expire,
    /// From a timer: a dead child's pause is over.
    Respawn(Child),
    /// From a request that is the first to wait for a model.
    OpenLine {
        /// The model.
        model: ModelName,
        /// Where the line goes.
        reply: oneshot::Sender<Arc<Line>>,
    },
}

/// Whom the registry supervises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// The actor of an endpoint, by its place.
    Endpoint(usize),
    /// The actor of a model's line.
    Line(ModelName),
}

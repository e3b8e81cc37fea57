//! What the registry is told.

use std::sync::Arc;

use crate::domain::ModelName;
use crate::fleet::desired::{Applied, Desired, EndpointId};
use crate::fleet::endpoint::Report;
use crate::fleet::waiting::Line;
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
    /// From whoever decides which servers there are: let there be these.
    Apply {
        /// All of them.
        desired: Desired,
        /// Told when the view shows it.
        reply: Reply<Applied>,
    },
    /// From an endpoint that drains: its last lease has ended.
    Drained(EndpointId),
    /// From itself, behind the reports already queued: make a new view.
    Publish,
    /// From a request that is the first to wait for a model.
    OpenLine {
        /// The model.
        model: ModelName,
        /// Where the line goes.
        reply: Reply<Arc<Line>>,
    },
}

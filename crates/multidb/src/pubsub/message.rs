//! What the hub is told.

use tokio::sync::oneshot;

use super::buffer::Outlet;
use super::interest::{Granted, ReaderId};
use super::topic::{Topic, TopicKind};

/// The mailbox of the hub. Unbounded, and bounded by its senders: a reader waits for each answer,
/// and leaves once.
#[derive(Debug)]
pub(super) enum Message {
    /// A reader comes.
    Join { reader: ReaderId, outlet: Outlet },
    /// It wants topics, at least one.
    Subscribe {
        reader: ReaderId,
        topics: Vec<Topic>,
        reply: oneshot::Sender<Granted>,
    },
    /// It has had enough of topics.
    Unsubscribe {
        reader: ReaderId,
        topics: Vec<Topic>,
        reply: oneshot::Sender<()>,
    },
    /// It has had enough of all topics of a kind.
    UnsubscribeAll {
        reader: ReaderId,
        kind: TopicKind,
        reply: oneshot::Sender<()>,
    },
    /// It is gone.
    Left { reader: ReaderId },
}

//! Messages to the hub.

use tokio::sync::oneshot;

use super::buffer::ItemSender;
use super::interest::{Granted, ReaderId};
use super::topic::{Topic, TopicKind};

/// The mailbox of the hub. Unbounded, and bounded by its senders: a reader waits for each answer,
/// and leaves once.
#[derive(Debug)]
pub(super) enum Message {
    /// A new reader.
    Join {
        reader: ReaderId,
        sender: ItemSender,
    },
    /// It wants topics, at least one.
    Subscribe {
        reader: ReaderId,
        topics: Vec<Topic>,
        reply: oneshot::Sender<Granted>,
    },
    /// It no longer wants topics.
    Unsubscribe {
        reader: ReaderId,
        topics: Vec<Topic>,
        reply: oneshot::Sender<()>,
    },
    /// It no longer wants any topic of a kind.
    UnsubscribeAll {
        reader: ReaderId,
        kind: TopicKind,
        reply: oneshot::Sender<()>,
    },
    /// A reader has been dropped.
    Left { reader: ReaderId },
}

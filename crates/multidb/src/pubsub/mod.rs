//! Subscriptions that move with the active database.
//!
//! Owns the connections for subscriptions, at most two, shared by all subscribers of one client: the one
//! that delivers, and during a move the one that takes over. It knows which database is active and
//! how to connect to it, and nothing about why that changes.
//!
//! When the active database changes, everything is subscribed on the new one, and confirmed, before
//! the old one is left. What the old one had sent up to then is delivered first, then the gap is
//! announced ([`Item::Gap`]), then what the new one sent; never a message of the old one after one of
//! the new. That nothing is missing or doubled at the gap cannot be guaranteed, because publishers
//! change over at moments of their own: hence the announcement, in the stream and as
//! [`Event::PubSubGap`].
//!
//! A connection that breaks, or does not answer a PING, is announced at once
//! ([`Item::Interrupted`]), made anew with pauses that double, and announced again. A reader that
//! does not keep up loses the newest items and finds out where and how many ([`Item::Lagged`]);
//! memory is bounded everywhere. [`MultiDb::close`](crate::MultiDb::close) ends every
//! stream after its last item.

mod actor;
mod buffer;
mod client_source;
mod interest;
mod item;
mod listener;
mod message;
mod operation;
mod reader;
mod receive_buffer;
mod shards;
mod state;
mod topic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::cluster_async::ClusterConnection;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use item::{Gap, GapCause, Item, Published};
pub use reader::{Items, PubSub, SubscribeError, Subscriptions};
pub use topic::{Topic, TopicKind};

pub(crate) use client_source::ClientSource;

use super::database::DatabaseId;
use super::{Active, Error, Event};
use buffer::ItemReceiver;
use interest::ReaderId;
use message::Message;

/// Takes what a cluster pushes. Must not wait.
pub(crate) type Push = Arc<dyn Fn(redis::PushInfo) + Send + Sync>;

/// What the hub needs of the client. Must not keep the client alive: the client ends the hub.
pub(crate) trait Source: Send + Sync + 'static {
    /// A pub/sub connection to a database: of a cluster to one of its nodes, of a sentinel group to
    /// its master.
    fn open(&self, database: DatabaseId) -> BoxFuture<'static, Result<redis::aio::PubSub, Error>>;

    /// A cluster connection of its own that speaks RESP3 and gives all pushes to `push`. `None` for
    /// a database that is no cluster.
    fn open_shards(
        &self,
        database: DatabaseId,
        push: Push,
    ) -> BoxFuture<'static, Result<Option<ClusterConnection>, Error>>;

    /// Whether the client trusts a database. A trusted one has the full response timeout to confirm
    /// that its subscriptions have ended.
    fn trusts(&self, database: DatabaseId) -> bool;

    /// Publishes an event.
    fn emit(&self, event: Event);
}

/// How long the hub waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// For a connection: `connect_timeout`.
    pub(crate) open_timeout: Duration,
    /// For a confirmation or the answer to a PING: `response_timeout`.
    pub(crate) response_timeout: Duration,
    /// Between two PINGs over a connection: `health_check_interval`.
    pub(crate) ping_interval: Duration,
}

/// The handle of the hub. No connection and no cost while there are no subscriptions.
#[derive(Clone)]
pub(crate) struct Hub {
    mailbox: mpsc::UnboundedSender<Message>,
    readers: Arc<AtomicU64>,
}

impl Hub {
    /// Starts the hub as one of `tasks`, until `stop` or until the last handle is dropped.
    pub(crate) fn start(
        tasks: &TaskTracker,
        stop: CancellationToken,
        active: watch::Receiver<Active>,
        source: Arc<dyn Source>,
        settings: Settings,
    ) -> Self {
        let (mailbox, messages) = mpsc::unbounded_channel();
        let hub = actor::HubTask {
            stop,
            active,
            mailbox: messages,
            source,
            settings,
        };
        tasks.spawn(hub.run());
        Self {
            mailbox,
            readers: Arc::default(),
        }
    }

    /// One more reader, with a buffer for so many items.
    fn join(&self, items: usize) -> (ReaderId, ItemReceiver) {
        let (sender, receiver) = buffer::buffer(items);
        let reader = self.readers.fetch_add(1, Ordering::Relaxed);
        // A hub that has ended drops the sender, which ends the stream.
        drop(self.mailbox.send(Message::Join { reader, sender }));
        (reader, receiver)
    }

    fn send(&self, message: Message) -> bool {
        self.mailbox.send(message).is_ok()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

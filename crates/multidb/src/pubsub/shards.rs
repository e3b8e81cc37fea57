//! Shard channels: the part of a connection that exists only on a cluster.
//!
//! A shard channel belongs to the node that owns its slot, so this is a cluster connection of its
//! own, made when the first shard channel is wanted. Its driver would repair itself silently: a
//! node that goes away, or a slot that moves, is subscribed again somewhere and what was published
//! in between is silently lost. Both are therefore taken as the end of the whole connection, which is then
//! made anew and announced like any other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use redis::cluster_async::ClusterConnection;
use redis::{Msg, PushInfo, PushKind, Value};
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

use super::Source;
use super::listener::{SubscribeOutcome, published};
use super::receive_buffer::Received;
use super::topic::TopicKind;
use crate::database::DatabaseId;

/// The shards of one connection.
pub(super) struct Shards {
    pub(super) shard_client: ShardClient,
    pushes: mpsc::Receiver<Push>,
    missed: Arc<AtomicU64>,
    /// What the server has confirmed and not been asked to end.
    confirmed: HashSet<Bytes>,
}

/// The handle for the cluster connection; cheap to clone.
#[derive(Clone)]
pub(super) struct ShardClient {
    database: DatabaseId,
    /// `None` inside: not a cluster.
    connection: Arc<OnceCell<Option<ClusterConnection>>>,
    sender: mpsc::Sender<Push>,
    missed: Arc<AtomicU64>,
    broken: CancellationToken,
}

#[derive(Debug)]
enum Push {
    Received(Received),
    Subscribed(Bytes),
    Unsubscribed(Bytes),
}

impl Shards {
    pub(super) fn new(database: DatabaseId, capacity: usize) -> Self {
        let (sender, pushes) = mpsc::channel(capacity);
        let missed = Arc::new(AtomicU64::new(0));
        let shard_client = ShardClient {
            database,
            connection: Arc::default(),
            sender,
            missed: Arc::clone(&missed),
            broken: CancellationToken::new(),
        };
        Self {
            shard_client,
            pushes,
            missed,
            confirmed: HashSet::new(),
        }
    }

    /// The next message, if one is there.
    pub(super) fn next(&mut self, cx: &mut std::task::Context<'_>) -> Option<Received> {
        loop {
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                return Some(Received::Missed(missed));
            }
            match self.pushes.poll_recv(cx) {
                std::task::Poll::Ready(Some(Push::Received(received))) => return Some(received),
                std::task::Poll::Ready(Some(Push::Subscribed(name))) => {
                    self.confirmed.insert(name);
                }
                std::task::Poll::Ready(Some(Push::Unsubscribed(name))) => {
                    // Unasked: its slot has moved.
                    if self.confirmed.contains(&name) {
                        self.shard_client.broken.cancel();
                    }
                }
                _ => return None,
            }
        }
    }

    /// The server is about to be asked to end all subscriptions: these.
    pub(super) fn forget_all(&mut self) -> Vec<Bytes> {
        self.confirmed.drain().collect()
    }

    /// The server is about to be asked to end this subscription.
    pub(super) fn forget(&mut self, name: &Bytes) {
        self.confirmed.remove(name);
    }
}

impl Drop for Shards {
    /// Ends every wait for this connection.
    fn drop(&mut self) {
        self.shard_client.broken.cancel();
    }
}

impl ShardClient {
    /// Subscribes, connecting first if need be.
    pub(super) async fn subscribe(&self, source: &dyn Source, name: &[u8]) -> SubscribeOutcome {
        let (sender, missed, broken) = (
            self.sender.clone(),
            Arc::clone(&self.missed),
            self.broken.clone(),
        );
        let connection = self
            .connection
            .get_or_try_init(|| {
                let push = Arc::new(move |info| pass(info, &sender, &missed, &broken));
                source.open_shards(self.database, push)
            })
            .await;
        match connection {
            Ok(Some(connection)) => SubscribeOutcome::of(connection.clone().ssubscribe(name).await),
            Ok(None) => SubscribeOutcome::Refused("shard channels exist on clusters only".into()),
            Err(error) => SubscribeOutcome::Broken(error.to_string().into()),
        }
    }

    pub(super) async fn unsubscribe(&self, name: &[u8]) {
        if let Some(Some(connection)) = self.connection.get() {
            // Its messages are ignored in any case; a broken connection is noticed otherwise.
            drop(connection.clone().sunsubscribe(name).await);
        }
    }

    /// Asks all nodes. An error is the end of the connection.
    pub(super) async fn ping(&self) -> redis::RedisResult<()> {
        match self.connection.get() {
            Some(Some(connection)) => {
                let ping = redis::cmd("PING");
                ping.query_async::<Value>(&mut connection.clone()).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Resolves when a node went away, a slot moved, or the connection was closed.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }
}

/// Called by the driver for everything that is not an answer, and must not wait.
fn pass(info: PushInfo, to: &mpsc::Sender<Push>, missed: &AtomicU64, broken: &CancellationToken) {
    let name = |data: &[Value]| match data.first() {
        Some(Value::BulkString(name)) => Some(Bytes::copy_from_slice(name)),
        _ => None,
    };
    let push = match info.kind {
        PushKind::Disconnection => {
            broken.cancel();
            return;
        }
        PushKind::SSubscribe => name(&info.data).map(Push::Subscribed),
        PushKind::SUnsubscribe => name(&info.data).map(Push::Unsubscribed),
        _ => Msg::from_push_info(info)
            .map(|message| Received::Message(TopicKind::ShardChannel, published(&message)))
            .map(Push::Received),
    };
    if let Some(push) = push
        && to.try_send(push).is_err()
    {
        // A confirmation that does not fit counts as well: too many is on the safe side.
        missed.fetch_add(1, Ordering::Relaxed);
    }
}

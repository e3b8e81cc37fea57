//! Shard channels: the part of a leg that exists only on a cluster.
//!
//! A shard channel lives on the node that owns its slot, so this is a cluster connection of its
//! own, made when the first shard channel is wanted. Its driver would mend itself without a word: a
//! node that goes away, or a slot that moves, is subscribed again somewhere and what was published
//! in between is silently gone. Both are therefore taken as the end of the whole leg, which is then
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
use super::ear::{Asked, published};
use super::intake::Heard;
use super::topic::TopicKind;
use crate::database::DatabaseId;

/// The shards of one leg.
pub(super) struct Shards {
    pub(super) line: Line,
    pushes: mpsc::Receiver<Push>,
    missed: Arc<AtomicU64>,
    /// What the server has confirmed and not been asked to end.
    carried: HashSet<Bytes>,
}

/// The way to the cluster; cheap to clone.
#[derive(Clone)]
pub(super) struct Line {
    database: DatabaseId,
    /// `None` inside: not a cluster.
    connection: Arc<OnceCell<Option<ClusterConnection>>>,
    sender: mpsc::Sender<Push>,
    missed: Arc<AtomicU64>,
    broken: CancellationToken,
}

#[derive(Debug)]
enum Push {
    Heard(Heard),
    Subscribed(Bytes),
    Unsubscribed(Bytes),
}

impl Shards {
    pub(super) fn new(database: DatabaseId, room: usize) -> Self {
        let (sender, pushes) = mpsc::channel(room);
        let missed = Arc::new(AtomicU64::new(0));
        let line = Line {
            database,
            connection: Arc::default(),
            sender,
            missed: Arc::clone(&missed),
            broken: CancellationToken::new(),
        };
        Self {
            line,
            pushes,
            missed,
            carried: HashSet::new(),
        }
    }

    /// The next message, if one is there.
    pub(super) fn next(&mut self, cx: &mut std::task::Context<'_>) -> Option<Heard> {
        loop {
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                return Some(Heard::Missed(missed));
            }
            match self.pushes.poll_recv(cx) {
                std::task::Poll::Ready(Some(Push::Heard(heard))) => return Some(heard),
                std::task::Poll::Ready(Some(Push::Subscribed(name))) => {
                    self.carried.insert(name);
                }
                std::task::Poll::Ready(Some(Push::Unsubscribed(name))) => {
                    // Unasked: its slot has moved.
                    if self.carried.contains(&name) {
                        self.line.broken.cancel();
                    }
                }
                _ => return None,
            }
        }
    }

    /// The server is about to be asked to end all subscriptions: these.
    pub(super) fn forget_all(&mut self) -> Vec<Bytes> {
        self.carried.drain().collect()
    }

    /// The server is about to be asked to end this subscription.
    pub(super) fn forget(&mut self, name: &Bytes) {
        self.carried.remove(name);
    }
}

impl Drop for Shards {
    /// Whoever still waits for this leg need not.
    fn drop(&mut self) {
        self.line.broken.cancel();
    }
}

impl Line {
    /// Subscribes, connecting first if need be.
    pub(super) async fn subscribe(&self, source: &dyn Source, name: &[u8]) -> Asked {
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
            Ok(Some(connection)) => Asked::of(connection.clone().ssubscribe(name).await),
            Ok(None) => Asked::Refused("shard channels exist on clusters only".into()),
            Err(error) => Asked::Broken(error.to_string().into()),
        }
    }

    pub(super) async fn unsubscribe(&self, name: &[u8]) {
        if let Some(Some(connection)) = self.connection.get() {
            // Nothing is heard of it in any case; a broken connection is noticed otherwise.
            drop(connection.clone().sunsubscribe(name).await);
        }
    }

    /// Asks all nodes. An error is the end of the leg.
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

    /// Resolves when a node went away, a slot moved, or the leg was closed.
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
            .map(|message| Heard::Message(TopicKind::ShardChannel, published(&message)))
            .map(Push::Heard),
    };
    if let Some(push) = push
        && to.try_send(push).is_err()
    {
        // A confirmation that finds no room counts as well: too many is on the safe side.
        missed.fetch_add(1, Ordering::Relaxed);
    }
}

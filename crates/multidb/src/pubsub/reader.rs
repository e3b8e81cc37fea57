//! A subscriber: its requests, and the items it receives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use redis::ToRedisArgs;
use tokio::sync::oneshot;

use super::buffer::ItemReceiver;
use super::interest::ReaderId;
use super::item::Item;
use super::message::Message;
use super::topic::{Topic, TopicKind};
use super::{ClientSource, Hub, Source as _};
use crate::{DatabaseId, Error, MultiDb};

/// Items a subscriber may be behind.
const CAPACITY: usize = 1024;

/// A subscriber: subscriptions that follow the active database, and the one stream of what comes
/// through them. Keeps the client alive; dropping it ends its subscriptions.
#[derive(Debug)]
pub struct PubSub {
    subscriptions: Subscriptions,
    items: Items,
}

/// The asking half of a [`PubSub`].
#[derive(Debug)]
pub struct Subscriptions {
    membership: Arc<Membership>,
}

/// The listening half of a [`PubSub`], a [`Stream`] of [`Item`]s.
#[derive(Debug)]
pub struct Items {
    receiver: ItemReceiver,
    _membership: Arc<Membership>,
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The server does not allow it, or it cannot be had there.
    #[error("{topic} was refused: {reason}")]
    Refused {
        /// Which one, of several the last.
        topic: Topic,
        /// The server's error text.
        reason: Arc<str>,
    },
    /// The client has been closed.
    #[error("the client is closed")]
    Closed,
}

/// Being a reader; both halves hold it.
#[derive(Debug)]
struct Membership {
    hub: Hub,
    reader: ReaderId,
    /// A subscriber keeps its client.
    _db: MultiDb,
}

// === impl MultiDb ===

impl MultiDb {
    /// A new subscriber, which is subscribed to nothing yet. It may be 1024 items behind.
    pub fn pubsub(&self) -> PubSub {
        self.pubsub_with_capacity(CAPACITY)
    }

    /// A pub/sub connection to one database (of a cluster: to one of its nodes), which stays there.
    /// [`pubsub`](Self::pubsub) gives one that moves.
    pub async fn open_pubsub(&self, database: DatabaseId) -> Result<redis::aio::PubSub, Error> {
        ClientSource(Arc::clone(&self.core.executor.views))
            .open(database)
            .await
    }

    /// A new subscriber that may be `items` behind before it loses some; at least one.
    pub fn pubsub_with_capacity(&self, items: usize) -> PubSub {
        let hub = self.core.hub.clone();
        let (reader, receiver) = hub.join(items);
        let membership = Arc::new(Membership {
            hub,
            reader,
            _db: self.clone(),
        });
        PubSub {
            items: Items {
                receiver,
                _membership: Arc::clone(&membership),
            },
            subscriptions: Subscriptions { membership },
        }
    }
}

// === impl PubSub ===

impl PubSub {
    /// [`Subscriptions::subscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn subscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.subscribe(channels).await
    }

    /// [`Subscriptions::psubscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn psubscribe(&mut self, patterns: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.psubscribe(patterns).await
    }

    /// [`Subscriptions::ssubscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn ssubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.ssubscribe(channels).await
    }

    /// [`Subscriptions::unsubscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn unsubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.unsubscribe(channels).await
    }

    /// [`Subscriptions::punsubscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn punsubscribe(&mut self, patterns: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.punsubscribe(patterns).await
    }

    /// [`Subscriptions::sunsubscribe`].
    ///
    /// # Errors
    /// See there.
    pub async fn sunsubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.subscriptions.sunsubscribe(channels).await
    }

    /// The next item; `None` when the client has been closed and everything has been read. Nothing
    /// is lost when this is dropped unfinished.
    pub async fn recv(&mut self) -> Option<Item> {
        self.items.next().await
    }

    /// Both halves, for two tasks. The subscriber ends with the second of them.
    pub fn split(self) -> (Subscriptions, Items) {
        (self.subscriptions, self.items)
    }
}

impl Stream for PubSub {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        Pin::new(&mut self.items).poll_next(cx)
    }
}

// === impl Items ===

impl Items {
    /// The next item, as [`PubSub::recv`].
    pub async fn recv(&mut self) -> Option<Item> {
        self.next().await
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.receiver.poll_take(cx)
    }
}

// === impl Subscriptions ===

impl Subscriptions {
    /// Subscribes to channels. Returns when the server has confirmed them: from then on nothing is
    /// missing without an announcement. While no database is active or none answers, it waits;
    /// give it a timeout of your own. Dropped unfinished, the request remains.
    ///
    /// # Errors
    /// [`SubscribeError::Refused`] when the server does not allow one of them, the others being
    /// subscribed; [`SubscribeError::Closed`] when the client has been closed.
    pub async fn subscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.want(TopicKind::Channel, channels).await
    }

    /// Subscribes to patterns, otherwise like [`subscribe`](Self::subscribe). A message that two
    /// patterns let through comes twice, as in Redis.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn psubscribe(&mut self, patterns: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.want(TopicKind::Pattern, patterns).await
    }

    /// Subscribes to shard channels, otherwise like [`subscribe`](Self::subscribe). Only clusters
    /// have them: a database that is none refuses, and so ends the subscription when it becomes
    /// active.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn ssubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.want(TopicKind::ShardChannel, channels).await
    }

    /// Ends subscriptions to these channels; to all of them if none is named. What has been
    /// received and not been read is still read.
    ///
    /// # Errors
    /// [`SubscribeError::Closed`] when the client has been closed.
    pub async fn unsubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.unwant(TopicKind::Channel, channels).await
    }

    /// Ends subscriptions to these patterns, or to all.
    ///
    /// # Errors
    /// As [`unsubscribe`](Self::unsubscribe).
    pub async fn punsubscribe(&mut self, patterns: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.unwant(TopicKind::Pattern, patterns).await
    }

    /// Ends subscriptions to these shard channels, or to all.
    ///
    /// # Errors
    /// As [`unsubscribe`](Self::unsubscribe).
    pub async fn sunsubscribe(&mut self, channels: impl ToRedisArgs) -> Result<(), SubscribeError> {
        self.unwant(TopicKind::ShardChannel, channels).await
    }

    async fn want(&self, kind: TopicKind, names: impl ToRedisArgs) -> Result<(), SubscribeError> {
        let topics = topics(kind, &names);
        if topics.is_empty() {
            return Ok(());
        }
        let (reply, granted) = oneshot::channel();
        self.membership.hub.send(Message::Subscribe {
            reader: self.membership.reader,
            topics,
            reply,
        });
        match granted.await {
            Ok(granted) => {
                granted.map_err(|(topic, reason)| SubscribeError::Refused { topic, reason })
            }
            Err(_) => Err(SubscribeError::Closed),
        }
    }

    async fn unwant(&self, kind: TopicKind, names: impl ToRedisArgs) -> Result<(), SubscribeError> {
        let topics = topics(kind, &names);
        let reader = self.membership.reader;
        let (reply, done) = oneshot::channel();
        self.membership.hub.send(if topics.is_empty() {
            Message::UnsubscribeAll {
                reader,
                kind,
                reply,
            }
        } else {
            Message::Unsubscribe {
                reader,
                topics,
                reply,
            }
        });
        done.await.map_err(|_| SubscribeError::Closed)
    }
}

fn topics(kind: TopicKind, names: &impl ToRedisArgs) -> Vec<Topic> {
    let names = names.to_redis_args();
    names
        .into_iter()
        .map(|name| Topic::new(kind, name))
        .collect()
}

// === impl Membership ===

impl Drop for Membership {
    fn drop(&mut self) {
        let reader = self.reader;
        self.hub.send(Message::Left { reader });
    }
}

//! One connection for subscriptions.
//!
//! The driver below reads whatever the server sends into memory without a bound, so it must be
//! emptied faster than messages can be handed out: a listener takes all there is, every time, and keeps
//! a bounded number.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult};

use super::item::Published;
use super::receive_buffer::{ReceiveBuffer, Received};
use super::shards::{ShardClient, Shards};
use super::state::ConnId;
use super::topic::TopicKind;

/// How a request to subscribe ended.
#[derive(Debug)]
pub(super) enum SubscribeOutcome {
    Confirmed,
    /// The server does not allow it.
    Refused(Arc<str>),
    /// The connection cannot be used any more.
    Broken(Arc<str>),
}

pub(super) struct Listener {
    pub(super) conn: ConnId,
    sink: PubSubSink,
    pub(super) shards: Shards,
    /// `None` when it has ended.
    stream: Option<PubSubStream>,
    receive_buffer: ReceiveBuffer,
    received_count: Arc<AtomicU64>,
}

/// What commands are sent with over a listener's connection, by the tasks of `operation`.
pub(super) struct ConnSender {
    pub(super) sink: PubSubSink,
    pub(super) shard_client: ShardClient,
    /// Counts everything that comes.
    pub(super) received_count: Arc<AtomicU64>,
}

impl Listener {
    pub(super) fn new(
        conn: ConnId,
        sink: PubSubSink,
        stream: PubSubStream,
        shards: Shards,
    ) -> Self {
        Self {
            conn,
            sink,
            shards,
            stream: Some(stream),
            receive_buffer: ReceiveBuffer::new(),
            received_count: Arc::default(),
        }
    }

    pub(super) fn conn_sender(&self) -> ConnSender {
        ConnSender {
            sink: self.sink.clone(),
            shard_client: self.shards.shard_client.clone(),
            received_count: Arc::clone(&self.received_count),
        }
    }

    /// Takes in all there is. Ready when there is something to hand out, or nothing will ever be.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stream) = &mut self.stream {
            match Pin::new(stream).poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    let kind = if message.from_pattern() {
                        TopicKind::Pattern
                    } else {
                        TopicKind::Channel
                    };
                    self.keep(Received::Message(kind, published(&message)));
                }
                Poll::Ready(None) => self.stream = None,
                Poll::Pending => break,
            }
        }
        while let Some(received) = self.shards.next(cx) {
            self.keep(received);
        }
        if self.receive_buffer.is_empty() && self.stream.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn keep(&mut self, received: Received) {
        self.received_count.fetch_add(1, Ordering::Relaxed);
        self.receive_buffer.keep(received);
    }

    /// The next of what was taken in.
    pub(super) fn next(&mut self) -> Option<Received> {
        self.receive_buffer.next()
    }

    /// Everything has been handed out and nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.stream.is_none() && self.receive_buffer.is_empty()
    }
}

impl SubscribeOutcome {
    /// The server has answered, or not.
    pub(super) fn of(answer: RedisResult<()>) -> Self {
        match answer {
            Ok(()) => Self::Confirmed,
            // Not permitted, or not supported. Every other answer is about the state the server is in.
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
                let code = error.code().unwrap_or_default();
                let text = format!("{code} {}", error.detail().unwrap_or_default());
                Self::Refused(text.trim_end().into())
            }
            Err(error) => Self::Broken(error.to_string().into()),
        }
    }
}

/// A message of the driver, as ours.
pub(super) fn published(message: &Msg) -> Published {
    Published {
        channel: message
            .get_channel::<Vec<u8>>()
            .map_or_else(|_| Bytes::new(), Bytes::from),
        pattern: message
            .get_pattern::<Option<Vec<u8>>>()
            .ok()
            .flatten()
            .map(Bytes::from),
        payload: Bytes::copy_from_slice(message.get_payload_bytes()),
    }
}

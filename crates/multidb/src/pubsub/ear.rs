//! One connection that listens.
//!
//! The driver below reads whatever the server sends into memory without a bound, so it must be
//! emptied faster than messages can be handed out: an ear takes all there is, every time, and keeps
//! a bounded number.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult};

use super::intake::{Heard, Intake};
use super::item::Published;
use super::shards::{Line, Shards};
use super::state::LegId;
use super::topic::TopicKind;

/// How a request to subscribe ended.
#[derive(Debug)]
pub(super) enum Asked {
    Confirmed,
    /// The server does not allow it.
    Refused(Arc<str>),
    /// The connection is of no use any more.
    Broken(Arc<str>),
}

pub(super) struct Ear {
    pub(super) leg: LegId,
    sink: PubSubSink,
    pub(super) shards: Shards,
    /// `None` when it has ended.
    stream: Option<PubSubStream>,
    intake: Intake,
    pulse: Arc<AtomicU64>,
}

/// What an ear's server can be told and asked with, by whoever does that for it.
pub(super) struct Voice {
    pub(super) sink: PubSubSink,
    pub(super) line: Line,
    /// Beats with whatever comes.
    pub(super) pulse: Arc<AtomicU64>,
}

impl Ear {
    pub(super) fn new(leg: LegId, sink: PubSubSink, stream: PubSubStream, shards: Shards) -> Self {
        Self {
            leg,
            sink,
            shards,
            stream: Some(stream),
            intake: Intake::new(),
            pulse: Arc::default(),
        }
    }

    pub(super) fn voice(&self) -> Voice {
        Voice {
            sink: self.sink.clone(),
            line: self.shards.line.clone(),
            pulse: Arc::clone(&self.pulse),
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
                    self.keep(Heard::Message(kind, published(&message)));
                }
                Poll::Ready(None) => self.stream = None,
                Poll::Pending => break,
            }
        }
        while let Some(heard) = self.shards.next(cx) {
            self.keep(heard);
        }
        if self.intake.is_empty() && self.stream.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn keep(&mut self, heard: Heard) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        self.intake.keep(heard);
    }

    /// The next of what was taken in.
    pub(super) fn next(&mut self) -> Option<Heard> {
        self.intake.next()
    }

    /// Everything has been handed out and nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.stream.is_none() && self.intake.is_empty()
    }
}

impl Asked {
    /// The server has answered, or not.
    pub(super) fn of(answer: RedisResult<()>) -> Self {
        match answer {
            Ok(()) => Self::Confirmed,
            // "You may not" and "I cannot". Every other answer is about the state it is in.
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
                let code = error.code().unwrap_or_default();
                let words = format!("{code} {}", error.detail().unwrap_or_default());
                Self::Refused(words.trim_end().into())
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

//! One request, as operators see it.
//!
//! Cells that the request's own task writes as it goes on, each once or in one direction, so that a reader sees
//! at any moment something that was true.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderValue;
use serde::Serialize;
use tokio::time::Instant;

use super::cancel::{Cancel, Cancellable};
use super::sender::Sender;
use super::tried::{How, Try};
use crate::clock;
use crate::domain::{ModelName, TokenCounts};
use crate::fleet::{Considered, Endpoint};
use crate::protocol::Api;

/// Its status until there is one: the client has left, as in nginx and Ollama.
const LEFT: u16 = 499;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has no slot yet.
    Waiting,
    /// Its server loads the model for it.
    Loading,
    /// Its server has it, and has not begun to answer.
    Prompt,
    /// Its answer comes.
    Streaming,
    /// It is over.
    Ended,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    serial: u64,
    id: HeaderValue,
    sender: Sender,
    api: Api,
    arrived: Instant,
    /// The same moment in Unix milliseconds.
    arrived_ms: u64,
    asked: OnceLock<Asked>,
    first_try: OnceLock<Try>,
    /// What spoke against each server, where none was left.
    denied: OnceLock<Box<Considered>>,
    phase: AtomicU8,
    /// When the phase began, in microseconds since the arrival.
    phase_us: AtomicU64,
    queued_us: AtomicU64,
    first_byte_us: AtomicU64,
    total_us: AtomicU64,
    attempts: AtomicU32,
    /// Pieces of the answer so far; in the end the tokens written.
    output: AtomicU64,
    input: AtomicU64,
    status: AtomicU32,
    cancel: Cancel,
}

/// What a request asks for.
#[derive(Debug)]
struct Asked {
    model: ModelName,
    key: Option<Arc<str>>,
    streamed: bool,
}

impl Request {
    pub(super) fn new(
        serial: u64,
        api: Api,
        id: HeaderValue,
        sender: Sender,
        arrived: Instant,
    ) -> Self {
        let since_epoch = clock::since_epoch().as_millis();
        Self {
            serial,
            id,
            sender,
            api,
            arrived,
            arrived_ms: u64::try_from(since_epoch).unwrap_or_default(),
            asked: OnceLock::new(),
            first_try: OnceLock::new(),
            denied: OnceLock::new(),
            phase: AtomicU8::new(Phase::Waiting as u8),
            phase_us: AtomicU64::new(0),
            queued_us: AtomicU64::new(0),
            first_byte_us: AtomicU64::new(0),
            total_us: AtomicU64::new(0),
            attempts: AtomicU32::new(0),
            output: AtomicU64::new(0),
            input: AtomicU64::new(0),
            status: AtomicU32::new(0),
            cancel: Cancel::default(),
        }
    }

    // Written by the request.

    /// It was read: this is what it asks for, and the id of its key.
    pub(in crate::gateway) fn asks(
        &self,
        model: &ModelName,
        key: Option<Arc<str>>,
        streamed: bool,
    ) {
        let model = model.clone();
        let _ = self.asked.set(Asked {
            model,
            key,
            streamed,
        });
    }

    /// It is sent to a server.
    pub(in crate::gateway) fn tries(
        &self,
        model: &ModelName,
        endpoint: &Endpoint,
        considered: Considered,
        how: How,
    ) {
        let tried = Try::new(model, endpoint, considered, how);
        match self.tries_so_far().last() {
            None => drop(self.first_try.set(tried)),
            Some(last) => drop(last.next.set(Box::new(tried))),
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.queued_us.store(micros(how.queued), Ordering::Relaxed);
        self.begins(match how.loads {
            true => Phase::Loading,
            false => Phase::Prompt,
        });
    }

    /// Its server loads the model before it is sent.
    pub(in crate::gateway) fn loads(&self) {
        self.begins(Phase::Loading);
    }

    /// The model is loaded.
    pub(in crate::gateway) fn loaded(&self) {
        self.begins(Phase::Prompt);
    }

    /// It is sent to none.
    pub(in crate::gateway) fn denied(&self, considered: Considered) {
        let _ = self.denied.set(Box::new(considered));
    }

    /// The server it was sent to last has failed it.
    pub(in crate::gateway) fn failed(&self, how: &'static str) {
        if let Some(last) = self.tries_so_far().last() {
            let _ = last.failure.set(how);
        }
        self.begins(Phase::Waiting);
    }

    /// Its answer has begun.
    pub(in crate::gateway) fn answered(&self) {
        self.begins(Phase::Streaming);
        let at = self.phase_us.load(Ordering::Relaxed);
        self.first_byte_us.store(at.max(1), Ordering::Relaxed);
    }

    /// So many pieces of its answer have come.
    pub(in crate::gateway) fn progressed(&self, pieces: u64) {
        self.output.store(pieces, Ordering::Relaxed);
    }

    /// What it has used.
    pub(in crate::gateway) fn used(&self, tokens: TokenCounts) {
        self.input.store(tokens.input, Ordering::Relaxed);
        self.output.store(tokens.output, Ordering::Relaxed);
    }

    /// What the client got.
    pub(in crate::gateway) fn ends(&self, status: u16) {
        self.status.store(status.into(), Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.begins(Phase::Ended);
        let at = self.phase_us.load(Ordering::Relaxed);
        self.total_us.store(at.max(1), Ordering::Relaxed);
    }

    fn begins(&self, phase: Phase) {
        let at = micros(self.arrived.elapsed());
        self.phase_us.store(at, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    // Read by anyone.

    /// In the order of arrival.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Its id, the client's own if it gave one.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// From where it comes.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Which API is called.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// When it arrived, in Unix milliseconds.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        self.arrived_ms
    }

    /// The model it asks for, once that is known.
    #[must_use]
    pub fn model(&self) -> Option<&ModelName> {
        let last = self.tries_so_far().last().map(|last| &last.model);
        last.or_else(|| self.asked.get().map(|asked| &asked.model))
    }

    /// The id of its key; empty without one.
    #[must_use]
    pub fn key(&self) -> &str {
        let asked = self.asked.get();
        asked
            .and_then(|asked| asked.key.as_deref())
            .unwrap_or_default()
    }

    /// Whether it asked for a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.asked.get().is_some_and(|asked| asked.streamed)
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let phases = [
            Phase::Waiting,
            Phase::Loading,
            Phase::Prompt,
            Phase::Streaming,
        ];
        let phase = self.phase.load(Ordering::Relaxed);
        let found = phases.into_iter().find(|known| *known as u8 == phase);
        found.unwrap_or(Phase::Ended)
    }

    /// How long it has been there.
    #[must_use]
    pub fn in_phase(&self) -> Duration {
        let since = self.phase_us.load(Ordering::Relaxed);
        self.arrived
            .elapsed()
            .saturating_sub(Duration::from_micros(since))
    }

    /// How long it has taken so far, or took.
    #[must_use]
    pub fn total(&self) -> Duration {
        match self.total_us.load(Ordering::Relaxed) {
            0 => self.arrived.elapsed(),
            total => Duration::from_micros(total),
        }
    }

    /// How long it waited for a slot.
    #[must_use]
    pub fn queued(&self) -> Duration {
        Duration::from_micros(self.queued_us.load(Ordering::Relaxed))
    }

    /// When the first byte of its answer came, from its arrival on.
    #[must_use]
    pub fn first_byte(&self) -> Option<Duration> {
        let at = self.first_byte_us.load(Ordering::Relaxed);
        (at > 0).then(|| Duration::from_micros(at))
    }

    /// Tokens read: known in the end.
    #[must_use]
    pub fn input(&self) -> u64 {
        self.input.load(Ordering::Relaxed)
    }

    /// Tokens written so far.
    #[must_use]
    pub fn output(&self) -> u64 {
        self.output.load(Ordering::Relaxed)
    }

    /// How many servers it was sent to.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The status of its answer; 499 when the client left before there was one.
    #[must_use]
    pub fn status(&self) -> u16 {
        match u16::try_from(self.status.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => LEFT,
            Ok(status) => status,
        }
    }

    /// Every server it was sent to, in that order.
    pub fn tries_so_far(&self) -> impl Iterator<Item = &Try> {
        std::iter::successors(self.first_try.get(), |tried| tried.next())
    }

    /// What spoke for and against each server when it was last sent to one, or to none.
    #[must_use]
    pub fn considered(&self) -> Option<&Considered> {
        let denied = self.denied.get().map(|denied| &**denied);
        denied.or_else(|| self.tries_so_far().last().map(|last| &last.considered))
    }

    pub(super) fn is_on(&self, generation: u64) -> bool {
        let last = self.tries_so_far().last();
        last.is_some_and(|last| last.generation == generation)
    }

    // Cancelling.

    /// Ends it, with an error that the client can see.
    pub fn cancel(&self) {
        self.cancel.set();
    }

    /// Whether it was told to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_set()
    }

    /// Its answer, which may not be polled when it is cancelled.
    pub(in crate::gateway) fn answers_with(&self, answer: Weak<dyn Cancellable>) {
        self.cancel.tell(answer);
    }

    pub(in crate::gateway) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.cancel.poll(cx)
    }

    pub(in crate::gateway) async fn cancelled(&self) {
        poll_fn(|cx| self.cancel.poll(cx)).await;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! The numbers in the last chunk.

use bytes::BufMut;
use tokio::time::Instant;

use super::write::{number, unless_zero};

/// When the parts of an answer began and ended, by the server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The handler began.
    pub begun: Instant,
    /// The runner was there: what lies before is `load_duration`, the waiting for other loads too.
    pub obtained: Instant,
    /// A slot was free: the waiting for it is in no part, only in the total.
    pub slot_at: Instant,
    /// The prompt was read.
    pub read: Instant,
}

/// Durations in nanoseconds, never 0, and the total never less than its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub total: u64,
    pub load: u64,
    pub prompt_tokens: u64,
    /// Of those, what was read before; absent where the server does not say.
    pub cached_tokens: Option<u64>,
    pub prompt: u64,
    pub eval_tokens: u64,
    pub eval: u64,
}

impl Metrics {
    /// Of an answer that computed nothing.
    pub const NOTHING: Self = Self {
        total: 0,
        load: 0,
        prompt_tokens: 0,
        cached_tokens: None,
        prompt: 0,
        eval_tokens: 0,
        eval: 0,
    };

    /// Of an answer whose last token came at `ended`.
    pub fn of(
        times: &Times,
        ended: Instant,
        (prompt_tokens, cached_tokens): (u64, Option<u64>),
        eval_tokens: u64,
    ) -> Self {
        let load = span(times.begun, times.obtained);
        let prompt = span(times.slot_at, times.read);
        let eval = span(times.read, ended);
        Self {
            total: span(times.begun, ended).max(load + prompt + eval),
            load,
            prompt_tokens,
            cached_tokens,
            prompt,
            eval_tokens,
            eval,
        }
    }

    /// The fields as they stand in `/api/chat` and `/api/generate`.
    pub fn write(&self, out: &mut impl BufMut) {
        unless_zero(out, "total_duration", self.total);
        unless_zero(out, "load_duration", self.load);
        unless_zero(out, "prompt_eval_count", self.prompt_tokens);
        if let Some(cached) = self.cached_tokens {
            out.put_slice(br#","prompt_eval_cached_count":"#);
            number(out, cached);
        }
        unless_zero(out, "prompt_eval_duration", self.prompt);
        unless_zero(out, "eval_count", self.eval_tokens);
        unless_zero(out, "eval_duration", self.eval);
    }
}

/// At least 1: a duration of 0 would be left out of the JSON.
fn span(from: Instant, to: Instant) -> u64 {
    let nanos = to.saturating_duration_since(from).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX / 4).max(1)
}

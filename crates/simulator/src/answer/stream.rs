//! Writes a scripted answer token by token, at its pace, to its end or to where it breaks.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;
use crate::wire::{Abort, Pieces};

use super::cut::RUNNER_STOPPED;
use super::{Cut, How, Metrics, Ongoing, Script, Times};

/// The buffer has room for so many tokens.
const AT_ONCE: usize = 40;
const HUGE_PIECE: usize = 64 << 10;

/// One token each `interval`, the next one at `due`; after a delay they keep the interval and do
/// not catch up.
pub struct Pace {
    interval: Duration,
    due: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Pace {
    /// A pace whose next token is due at `due`; `None` for a burst.
    pub fn new(interval: Duration, due: Instant) -> Option<Self> {
        (!interval.is_zero()).then(|| Self {
            interval,
            due,
            sleep: Box::pin(sleep_until(due)),
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.sleep.as_mut().poll(context));
        let missed = Instant::now().checked_sub(self.interval);
        self.due = missed.map_or(self.due, |missed| self.due.max(missed)) + self.interval;
        self.sleep.as_mut().reset(self.due);
        Poll::Ready(())
    }
}

/// See the module.
pub struct Stream {
    script: Script,
    ongoing: Ongoing,
    clock: Clock,
    times: Times,
    pace: Option<Pace>,
    cut: Option<Cut>,
    next: usize,
    buffer: BytesMut,
    state: State,
}

enum State {
    Tokens,
    /// The frames behind the last token; with the last of them the answer is counted.
    Ending(VecDeque<Bytes>),
    /// So many bytes of a line without end.
    Huge(u64),
    /// What was written is flushed; then it breaks.
    Flushing(Abort),
    Breaking(Abort),
    Stalled,
    Over,
}

impl Stream {
    pub fn new(
        script: Script,
        ongoing: Ongoing,
        clock: Clock,
        times: Times,
        pace: Option<Pace>,
        cut: Option<Cut>,
    ) -> Self {
        let room = script.line_length() * script.tokens.min(AT_ONCE);
        Self {
            script,
            ongoing,
            clock,
            times,
            pace,
            cut,
            next: 0,
            buffer: BytesMut::with_capacity(room),
            state: State::Tokens,
        }
    }

    fn token(&mut self) -> Bytes {
        let wall = self.clock.wall(Instant::now());
        self.script.write_token(&mut self.buffer, wall, self.next);
        self.next += 1;
        self.buffer.split().freeze()
    }

    /// The frame at the break, if it has one, and the state behind it.
    fn break_off(&mut self, how: How) -> (Option<Bytes>, State) {
        match how {
            How::Error => (self.script.error(RUNNER_STOPPED), State::Over),
            How::Reset => (None, State::Flushing(Abort::Reset)),
            How::CleanEnd => (None, State::Over),
            How::Stall => (None, State::Stalled),
            How::HalfLine => {
                let mut line = self.token();
                line.truncate(line.len() / 2);
                (Some(line), State::Flushing(Abort::Close))
            }
            How::HugeLine(bytes) => {
                let mut line = self.token();
                // Up to the beginning of the token's text, so that it goes on inside a string.
                let text = self.script.mark.as_slice();
                let at = line
                    .windows(text.len().max(1))
                    .rposition(|window| window == text);
                line.truncate(at.unwrap_or(0));
                let rest = bytes.saturating_sub(line.len() as u64);
                (Some(line), State::Huge(rest))
            }
        }
    }

    fn end(&mut self) -> VecDeque<Bytes> {
        let ended = Instant::now();
        let tokens = self.script.tokens as u64;
        let prompt = (self.script.prompt_tokens, self.script.cached_tokens);
        let metrics = Metrics::of(&self.times, ended, prompt, tokens);
        self.script.ending(self.clock.wall(ended), &metrics)
    }
}

impl Pieces for Stream {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Abort>>> {
        loop {
            match &mut self.state {
                State::Tokens => {
                    let cut = self
                        .cut
                        .filter(|cut| self.next >= cut.after.min(self.script.tokens));
                    if let Some(cut) = cut {
                        let (frame, state) = self.break_off(cut.how);
                        if !matches!(state, State::Stalled) {
                            self.ongoing.fail();
                        }
                        self.state = state;
                        if let Some(frame) = frame {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    } else if self.next < self.script.tokens {
                        if let Some(pace) = &mut self.pace {
                            ready!(pace.poll(context));
                        }
                        let frame = self.token();
                        self.ongoing.emitted();
                        return Poll::Ready(Some(Ok(frame)));
                    } else {
                        self.state = State::Ending(self.end());
                    }
                }
                State::Ending(frames) => {
                    let Some(frame) = frames.pop_front() else {
                        return Poll::Ready(None);
                    };
                    if frames.is_empty() {
                        let tokens = self.script.tokens as u64;
                        self.ongoing.finish(self.script.prompt_tokens, tokens);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                State::Huge(0) => self.state = State::Over,
                State::Huge(rest) => {
                    let length = usize::try_from(*rest).unwrap_or(HUGE_PIECE).min(HUGE_PIECE);
                    *rest -= length as u64;
                    let mut piece = BytesMut::with_capacity(length);
                    piece.put_bytes(b'x', length);
                    return Poll::Ready(Some(Ok(piece.freeze())));
                }
                State::Flushing(abort) => {
                    self.state = State::Breaking(*abort);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Breaking(abort) => return Poll::Ready(Some(Err(*abort))),
                State::Stalled => return Poll::Pending,
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

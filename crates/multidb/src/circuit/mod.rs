//! Whether one database is trusted: closed, open, half-open.
//!
//! ```text
//!            failures                    grace over
//!   Closed ───────────▶ Open ───────────────────────────▶ HalfOpen
//!     ▲                  ▲  (or a healthy round with       │   │
//!     │                  │   no other closed)              │   │
//!     │                  └────────── one failure ──────────┘   │
//!     └──────────────── success_threshold in a row ────────────┘
//! ```
//!
//! Decides and does nothing: the time is an argument. Every stay in a state is an **episode** with a
//! number of its own; what is said about an earlier episode changes nothing in this one, so neither
//! a late failure opens a circuit that has just recovered, nor a late success closes one that has
//! just failed again.
//!
//! [`Trials`] are the slots for real commands on a half-open database. They are taken without
//! asking the owner of the circuit, and given back by being dropped.

mod trials;

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

pub use trials::{Trial, Trials};

/// Whether a database is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitState {
    /// It is.
    Closed,
    /// It failed, and its grace is not over.
    Open,
    /// It is on trial.
    HalfOpen,
}

impl CircuitState {
    /// A label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One stay of one circuit in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Episode(u64);

/// A circuit.
#[derive(Clone, Debug)]
pub struct Circuit {
    state: CircuitState,
    since: Instant,
    episode: Episode,
    successes: u32,
    grace: Duration,
    success_threshold: u32,
}

impl Circuit {
    /// A closed one.
    pub fn new(now: Instant, grace: Duration, success_threshold: u32) -> Self {
        Self {
            state: CircuitState::Closed,
            since: now,
            episode: Episode(0),
            successes: 0,
            grace,
            success_threshold: success_threshold.max(1),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> CircuitState {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The present stay.
    pub fn episode(&self) -> Episode {
        self.episode
    }

    /// When [`tick`](Self::tick) will have something to do.
    pub fn deadline(&self) -> Option<Instant> {
        (self.state == CircuitState::Open).then(|| self.since + self.grace)
    }

    /// It is to be trusted no longer; on trial, one failure is enough. An open one stays as it is: its grace began with the failure
    /// that opened it, and failures meanwhile change nothing.
    pub fn open(&mut self, now: Instant) -> bool {
        self.state != CircuitState::Open && self.enter(CircuitState::Open, now)
    }

    /// After its grace it goes on trial.
    pub fn tick(&mut self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
            && self.enter(CircuitState::HalfOpen, now)
    }

    /// On trial before its grace is over; only for want of an alternative.
    pub fn try_early(&mut self, now: Instant) -> bool {
        self.state == CircuitState::Open && self.enter(CircuitState::HalfOpen, now)
    }

    /// A trial of `episode` succeeded.
    pub fn trial_succeeded(&mut self, episode: Episode, now: Instant) -> bool {
        if self.state != CircuitState::HalfOpen || episode != self.episode {
            return false;
        }
        self.successes += 1;
        self.successes >= self.success_threshold && self.enter(CircuitState::Closed, now)
    }

    /// Closed by force.
    pub fn force_close(&mut self, now: Instant) -> bool {
        self.state != CircuitState::Closed && self.enter(CircuitState::Closed, now)
    }

    fn enter(&mut self, state: CircuitState, now: Instant) -> bool {
        self.state = state;
        self.since = now;
        self.episode.0 += 1;
        self.successes = 0;
        true
    }
}

#[cfg(test)]
mod tests;

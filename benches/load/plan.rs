//! The messages between the processes: the plan of a generator, and what it reports.
//!
//! A [`Plan`] travels as one JSON argument, [`Event`]s come back as JSON lines. Between
//! [`Event::Ready`] and its start signal a generator holds warm connections and does nothing, so
//! that the orchestrator can read the proxy's CPU time while it is idle.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One run of one generator.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Connections kept open, each with at most one request at a time.
    pub clients: usize,
    /// What every request asks for.
    pub ask: Ask,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// Requests go round this many model names.
    pub models: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// One JSON answer.
    Whole,
    /// `tokens` pieces and a last one with `done`, each written by the server on its own.
    Stream {
        /// Pieces before the last one.
        tokens: u32,
        /// Server's pause before each piece; 0 is a burst.
        pace_ms: u64,
    },
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Arrivals {
    /// Closed loop: a client asks again as soon as it has its answer.
    Saturate {
        /// No request starts later than this.
        millis: u64,
    },
    /// Open loop: requests become due at a constant rate, whatever the answers do, and a request's
    /// time runs from the moment it was due, so that a stall counts for every request it delays.
    Steady {
        /// Requests due per second.
        per_second: u64,
        /// For how long.
        millis: u64,
    },
    /// Every client asks this often; the clients' first requests are spread evenly over the ramp.
    Together {
        /// Requests per client.
        each: u32,
        /// Time between the first client's start and the last one's.
        ramp_millis: u64,
    },
}

/// What a generator writes to its standard output.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// Connected and warm; waits for a line on its standard input.
    Ready,
    /// As many answers have begun as there are clients (only with [`Arrivals::Together`]): if each
    /// asks once, all streams are open now.
    AllOpen,
    /// Finished.
    Done(Box<Outcome>),
}

/// What a run's clients saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers that were complete and right.
    pub requests: u64,
    /// Answers that were not.
    pub failures: u64,
    /// The first few failures, as text.
    pub complaints: Vec<String>,
    /// NDJSON lines received in the right answers.
    pub pieces: u64,
    /// From the start signal to the last answer.
    pub seconds: f64,
    /// Until the first byte of the answer's body.
    pub first_byte: Spread,
    /// Between pieces of paced streams.
    pub gap: Spread,
    /// Until the answer's end.
    pub end: Spread,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Observations.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Ask {
    /// Lines of a right answer; the only one of a [`Ask::Whole`] counts as one.
    pub fn lines(self) -> u32 {
        match self {
            Self::Whole => 1,
            Self::Stream { tokens, .. } => tokens + 1,
        }
    }

    /// How long the server itself waits before the first piece.
    pub fn pace(self) -> Duration {
        match self {
            Self::Whole => Duration::ZERO,
            Self::Stream { pace_ms, .. } => Duration::from_millis(pace_ms),
        }
    }
}

impl Plan {
    /// How long a run takes when nothing delays it.
    pub fn expected(&self) -> Duration {
        let answer = self.ask.pace() * self.ask.lines();
        match self.arrivals {
            Arrivals::Saturate { millis } | Arrivals::Steady { millis, .. } => {
                Duration::from_millis(millis) + answer
            }
            Arrivals::Together { each, ramp_millis } => {
                Duration::from_millis(ramp_millis) + answer * each
            }
        }
    }
}

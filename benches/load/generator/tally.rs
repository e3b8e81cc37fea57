//! Everything the clients of one generator count together.
//!
//! One thread, so plain cells: a count costs nothing beside a system call.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::client::{Answer, Failure, Watcher};
use super::say;
use crate::plan::{Arrivals, Event, Outcome, Plan, Spread};

const COMPLAINTS: usize = 5;
/// Nanoseconds; longer waits are counted as this.
const LONGEST: u64 = 120_000_000_000;

/// Counters and distributions of a run.
pub struct Tally {
    plan: Plan,
    serial: Cell<u64>,
    pieces: Cell<u64>,
    failures: Cell<u64>,
    begun: Cell<usize>,
    complaints: RefCell<Vec<String>>,
    first_byte: RefCell<Times>,
    gap: RefCell<Times>,
    end: RefCell<Times>,
}

struct Times(Histogram<u64>);

impl Tally {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When the distributions' bounds make no sense.
    pub fn new(plan: Plan) -> io::Result<Self> {
        Ok(Self {
            plan,
            serial: Cell::new(0),
            pieces: Cell::new(0),
            failures: Cell::new(0),
            begun: Cell::new(0),
            complaints: RefCell::new(Vec::new()),
            first_byte: RefCell::new(Times::new()?),
            gap: RefCell::new(Times::new()?),
            end: RefCell::new(Times::new()?),
        })
    }

    /// The next request's number.
    pub fn next_serial(&self) -> u64 {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        serial
    }

    /// The model of request `serial`.
    pub fn model(&self, serial: u64) -> u64 {
        serial % self.plan.models.max(1)
    }

    /// A right answer to a request that was due `since`.
    pub fn answered(&self, since: Instant, answer: &Answer) {
        self.pieces.set(self.pieces.get() + u64::from(answer.lines));
        self.first_byte
            .borrow_mut()
            .record(answer.first_byte - since);
        self.end.borrow_mut().record(answer.end - since);
    }

    /// No answer, or not a right one.
    pub fn failed(&self, failure: &Failure) {
        self.failures.set(self.failures.get() + 1);
        let mut complaints = self.complaints.borrow_mut();
        if complaints.len() < COMPLAINTS {
            complaints.push(failure.to_string());
        }
    }

    /// The result of the run.
    pub fn outcome(&self, took: Duration) -> Outcome {
        let end = self.end.borrow().spread();
        Outcome {
            requests: end.count,
            failures: self.failures.get(),
            complaints: self.complaints.borrow().clone(),
            pieces: self.pieces.get(),
            seconds: took.as_secs_f64(),
            first_byte: self.first_byte.borrow().spread(),
            gap: self.gap.borrow().spread(),
            end,
        }
    }
}

impl Watcher for Tally {
    fn began(&self) {
        let begun = self.begun.get() + 1;
        self.begun.set(begun);
        let together = matches!(self.plan.arrivals, Arrivals::Together { .. });
        if together && begun == self.plan.clients {
            // The receiver may be gone.
            drop(say(&Event::AllOpen));
        }
    }

    fn arrived(&self, lines: u32, since: Instant, now: Instant) {
        if !self.plan.ask.pace().is_zero() {
            let mut gap = self.gap.borrow_mut();
            gap.record(now - since);
            // Pieces that came together waited for each other.
            (1..lines).for_each(|_| gap.record(Duration::ZERO));
        }
    }
}

impl Times {
    fn new() -> io::Result<Self> {
        Histogram::new_with_bounds(1, LONGEST, 3)
            .map(Self)
            .map_err(io::Error::other)
    }

    fn record(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
    }

    fn spread(&self) -> Spread {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        Spread {
            count: self.0.len(),
            p50: millis(self.0.value_at_quantile(0.5)),
            p90: millis(self.0.value_at_quantile(0.9)),
            p99: millis(self.0.value_at_quantile(0.99)),
            max: millis(self.0.max()),
        }
    }
}

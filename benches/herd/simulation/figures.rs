//! What came of it.

use hdrhistogram::Histogram;

use super::events::{Moment, SECOND};
use super::redis::Done;

/// What was measured of one scenario.
#[derive(Debug)]
pub struct Figures {
    /// Seconds that were measured.
    pub seconds: f64,
    /// How long requests waited for a slot of their server, in microseconds.
    pub waits: Histogram<u64>,
    /// The longest wait, also of a request that still waits at the end.
    pub longest: Moment,
    /// Requests that were answered, in each second.
    pub answered: Vec<u64>,
    /// By router.
    pub by_router: Vec<ByRouter>,
    /// The most requests that were on a server for a model beyond its slots.
    pub beyond: usize,
    /// What Redis did.
    pub redis: Done,
    /// Calls without an answer in time.
    pub failed_calls: u64,
}

/// What was measured of one router.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRouter {
    /// Requests that came to it.
    pub came: u64,
    /// That began.
    pub began: u64,
    /// How long those had waited together.
    pub waited: Moment,
    /// It was there from the beginning to the end.
    pub stayed: bool,
}

impl Figures {
    /// Of so many routers.
    pub fn new(routers: usize, measure: Moment) -> Self {
        let seconds = measure.div_ceil(SECOND);
        let waits = Histogram::new_with_bounds(1, 3_600 * SECOND, 3).expect("bounds in order");
        Self {
            seconds: measure as f64 / SECOND as f64,
            waits,
            longest: 0,
            answered: vec![0; seconds as usize],
            by_router: vec![ByRouter::default(); routers],
            beyond: 0,
            redis: Done::default(),
            failed_calls: 0,
        }
    }

    /// A request has begun that had waited so long.
    pub fn began(&mut self, router: usize, waited: Moment) {
        self.waits.saturating_record(waited);
        self.longest = self.longest.max(waited);
        let by = &mut self.by_router[router];
        by.began += 1;
        by.waited += waited;
    }

    /// Answers in a second.
    pub fn throughput(&self) -> f64 {
        self.answered.iter().sum::<u64>() as f64 / self.seconds
    }

    /// The mean waits of the router whose requests waited least and of the one whose waited most, in milliseconds.
    pub fn extremes(&self) -> (f64, f64) {
        let stayed = self.by_router.iter().filter(|by| by.stayed && by.began > 0);
        let mean = |by: &ByRouter| by.waited as f64 / by.began as f64 / 1e3;
        let fold = |(least, most): (f64, f64), mean: f64| (least.min(mean), most.max(mean));
        stayed.map(mean).fold((f64::INFINITY, 0.0), fold)
    }

    /// The least and the most that began of what came to a router, in parts of it.
    pub fn served(&self) -> (f64, f64) {
        let stayed = self.by_router.iter().filter(|by| by.stayed && by.came > 0);
        let part = |by: &ByRouter| by.began as f64 / by.came as f64;
        let fold = |(least, most): (f64, f64), part: f64| (least.min(part), most.max(part));
        stayed.map(part).fold((f64::INFINITY, 0.0), fold)
    }
}

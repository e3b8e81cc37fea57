//! Histogram buckets, each with its reason.

use prometheus_client::metrics::histogram::Histogram;

/// Whole answers and first bytes: from a cached embedding (milliseconds) to a cold load of a large
/// model followed by a long answer (minutes).
pub const ANSWER_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

/// Waiting in the queue: nothing, or up to `queue_timeout`.
pub const WAIT_SECONDS: &[f64] = &[
    0.000_1, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Time spent inside the router: tens of microseconds normally; a millisecond is bad.
pub const OVERHEAD_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.1,
];

/// A histogram over `buckets`.
#[must_use]
pub fn histogram(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

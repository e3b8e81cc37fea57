//! The wall clock: the one place that reads it.
//!
//! Knows nothing of calendars, and is not for measuring: it may be set back, and durations are the
//! business of `tokio::time::Instant`. A clock that stands before 1970 reads as 1970, so that no
//! caller has to decide what a negative moment means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970-01-01T00:00:00Z.
#[must_use]
pub fn since_epoch() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix seconds.
#[must_use]
pub fn unix_seconds() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}

/// Unix milliseconds.
#[must_use]
pub fn unix_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

//! One clock for every time that a server reports.
//!
//! Wall time is the moment of start plus what tokio's clock has run since. So a test that pauses
//! time gets dates that do not move either, and no request reads a second clock.

use tokio::time::Instant;

/// A server's clock, wrong by its configured skew.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    unix_nanos: i128,
}

impl Clock {
    /// Starts now. `unix_nanos` is the wall time of this moment as the server reports it.
    pub fn start(unix_nanos: i128) -> Self {
        Self {
            started: Instant::now(),
            unix_nanos,
        }
    }

    /// Wall time at `moment`, in Unix nanoseconds.
    pub fn wall(&self, moment: Instant) -> i128 {
        let since = moment.saturating_duration_since(self.started);
        self.unix_nanos + i128::try_from(since.as_nanos()).unwrap_or_default()
    }

    /// Wall time now, in Unix seconds.
    pub fn unix(&self) -> i64 {
        i64::try_from(self.wall(Instant::now()) / 1_000_000_000).unwrap_or_default()
    }

    /// `moment` in microseconds since the start.
    pub fn micros(&self, moment: Instant) -> i64 {
        let since = moment.saturating_duration_since(self.started);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Wall time of a moment given in microseconds since the start, in Unix nanoseconds.
    pub fn wall_of_micros(&self, micros: i64) -> i128 {
        self.unix_nanos + i128::from(micros) * 1000
    }

    /// The inverse of [`micros`](Self::micros), or `None` when it lies too far ahead to wait for.
    pub fn moment(&self, micros: i64) -> Option<Instant> {
        let ahead = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        // A century: "for ever" keep_alives must not become timers.
        if ahead.as_secs() > 3_000_000_000 {
            return None;
        }
        self.started.checked_add(ahead)
    }
}

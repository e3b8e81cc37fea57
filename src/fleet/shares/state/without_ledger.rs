//! A router that has started while the ledger is away: it divides by what the database says.
//!
//! All others that are without the ledger do the same, and those that have it count this one as one that has its
//! even share. So the sum holds, given that all see each other before they count.

use std::time::Duration;

use tokio::time::Instant;

/// So long the others have to see this router, before it has a share.
const SEEN: Duration = Duration::from_secs(3);
/// So long fewer have to be there before slots are divided among fewer.
const FEWER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct WithoutLedger {
    since: Instant,
    fewer: Option<Instant>,
}

impl WithoutLedger {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            fewer: None,
        }
    }

    /// Among how many to divide, where it was among so many and the database says that so many others are there.
    pub(super) fn divides(&mut self, divides: i64, others: usize, now: Instant) -> i64 {
        let routers = i64::try_from(others).unwrap_or(i64::MAX).saturating_add(1);
        if now.saturating_duration_since(self.since) < SEEN {
            return divides;
        }
        if divides == 0 || routers >= divides {
            self.fewer = None;
            return routers;
        }
        let since = *self.fewer.get_or_insert(now);
        match now.saturating_duration_since(since) < FEWER {
            true => divides,
            false => routers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_routers_count_at_once_and_fewer_when_that_lasts() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut without = WithoutLedger::new(now);
        assert_eq!(
            without.divides(0, 0, at(2)),
            0,
            "others may not have seen it"
        );
        assert_eq!(without.divides(0, 0, at(3)), 1);
        assert_eq!(without.divides(1, 2, at(4)), 3);
        assert_eq!(without.divides(3, 1, at(5)), 3);
        assert_eq!(without.divides(3, 2, at(6)), 3, "it is back");
        assert_eq!(without.divides(3, 0, at(7)), 3);
        assert_eq!(without.divides(3, 0, at(17)), 1);
    }
}

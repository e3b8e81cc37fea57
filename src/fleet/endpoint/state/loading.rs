//! The load that a server is doing, and what it may hold up.
//!
//! Ollama loads one model after another, and makes room only when the models it has to unload are
//! idle. A model that is always busy would keep another one waiting for ever. So a load that takes
//! longer than usual *holds* the server: no other model gets new requests there, until those that run
//! have ended and the load is done. What waits is then served within twice the time of a load and of the
//! running requests. A load that takes several times as long even so is *overdue*: it may never end,
//! and other models go on without it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::slot_pool::SlotPool;

/// A load that is shorter than this holds nothing.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a load takes when none has been seen.
const UNKNOWN: Duration = Duration::from_secs(5);
/// So many times the usual is overdue.
const OVERDUE: u32 = 4;
/// How often it is looked whether the running requests have ended.
const LOOK: Duration = Duration::from_millis(100);

/// A model is being loaded.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) pool: Arc<SlotPool>,
    since: Instant,
    usual: Duration,
    /// Since when nothing but this load keeps the server busy, while it holds it.
    alone_since: Option<Instant>,
    holds: bool,
}

/// What a look at a load has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing new.
    Same,
    /// It holds the server from now on.
    Holds,
    /// It holds up nothing any more.
    Overdue,
}

impl Loading {
    pub(super) fn new(pool: Arc<SlotPool>, usual: Option<Duration>, now: Instant) -> Self {
        Self {
            pool,
            since: now,
            usual: usual.unwrap_or(UNKNOWN).max(SHORTEST),
            alone_since: None,
            holds: false,
        }
    }

    pub(super) fn is_of(&self, pool: &SlotPool) -> bool {
        self.pool.serial() == pool.serial()
    }

    /// Whether other models get no new requests.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// `others_run`: requests of other models are running on the server.
    pub(super) fn look(&mut self, others_run: bool, now: Instant) -> Progress {
        if !self.holds {
            if now < self.since + self.usual {
                return Progress::Same;
            }
            self.holds = true;
            self.alone_since = (!others_run).then_some(now);
            return Progress::Holds;
        }
        if !others_run {
            let since = *self.alone_since.get_or_insert(now);
            if now >= since + self.usual * OVERDUE {
                return Progress::Overdue;
            }
        }
        Progress::Same
    }

    /// When to look again.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        match (self.holds, self.alone_since) {
            (false, _) => self.since + self.usual,
            (true, None) => now + LOOK,
            (true, Some(since)) => since + self.usual * OVERDUE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loading(usual: Option<u64>, now: Instant) -> Loading {
        Loading::new(SlotPool::alone("m", 1), usual.map(Duration::from_secs), now)
    }

    #[test]
    fn it_holds_the_server_when_it_takes_longer_than_usual() {
        let now = Instant::now();
        let mut load = loading(Some(3), now);
        assert_eq!(load.look(true, now), Progress::Same);
        let due = load.next_look(now);
        assert_eq!(due - now, Duration::from_secs(3));
        assert_eq!(load.look(true, due), Progress::Holds);
        assert!(load.holds());
    }

    #[test]
    fn it_is_overdue_only_when_the_others_have_ended() {
        let now = Instant::now();
        let mut load = loading(Some(3), now);
        let mut at = load.next_look(now);
        load.look(true, at);
        for _ in 0..1_000 {
            at = load.next_look(at);
            assert_eq!(load.look(true, at), Progress::Same, "they still run");
        }
        assert_eq!(load.look(false, at), Progress::Same);
        let due = load.next_look(at);
        assert_eq!(due - at, Duration::from_secs(12));
        assert_eq!(load.look(false, due), Progress::Overdue);
    }

    #[test]
    fn nothing_known_is_five_seconds_and_nothing_holds_within_a_second() {
        let now = Instant::now();
        assert_eq!(loading(None, now).next_look(now) - now, UNKNOWN);
        assert_eq!(loading(Some(0), now).next_look(now) - now, SHORTEST);
    }
}

//! What people watch of a server: the states it has been in (the last day, and so many at most), and how long
//! first bytes take.
//!
//! The states are written by the endpoint's actor alone, each time with one entry more; first bytes are counted by
//! leases. Nothing is decided by either.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

use super::Endpoint;
use crate::clock;
use crate::fleet::observed::Shown;
use crate::fleet::quantiles::Quantiles;

/// A server that goes up and down all the time has no longer a history than this.
const MOST: usize = 300;
const DAY: i64 = 86_400;

#[derive(Debug, Default)]
pub(super) struct Watched {
    history: History,
    first_bytes: Quantiles,
}

#[derive(Debug, Default)]
struct History(ArcSwap<Vec<StateChange>>);

/// A server is in another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateChange {
    /// Which one, counted from the server's first.
    #[serde(skip)]
    pub number: u64,
    /// Since when, in Unix seconds.
    pub at: i64,
    /// Which one.
    pub phase: Shown,
    /// Why it does not serve, for people.
    pub why: Option<Arc<str>>,
}

impl Endpoint {
    /// What states it has been in, the oldest first.
    #[must_use]
    pub fn history(&self) -> Arc<Vec<StateChange>> {
        self.watched.history.get()
    }

    /// How long first bytes take there.
    pub(in crate::fleet) fn first_bytes(&self) -> &Quantiles {
        &self.watched.first_bytes
    }

    /// Its state may be another one now. Called by the actor alone.
    pub(super) fn note_state(&self) {
        let report = self.report();
        let phase = Shown::of(self, &report);
        let at = clock::unix_seconds();
        self.watched
            .history
            .note(at, phase, report.trouble.as_ref());
    }
}

impl History {
    /// As it is: the oldest first.
    fn get(&self) -> Arc<Vec<StateChange>> {
        self.0.load_full()
    }

    /// The server is in this state now, whether or not that is another one; `at` is Unix seconds.
    fn note(&self, at: i64, phase: Shown, why: Option<&Arc<str>>) {
        let known = self.0.load();
        if known.last().is_some_and(|last| last.phase == phase) {
            return;
        }
        let kept = known.iter().filter(|change| change.at > at - DAY);
        let mut kept: Vec<StateChange> = kept.cloned().collect();
        let surplus = (kept.len() + 1).saturating_sub(MOST);
        kept.drain(..surplus);
        kept.push(StateChange {
            number: known.last().map_or(0, |last| last.number + 1),
            at,
            phase,
            why: why.cloned(),
        });
        self.0.store(Arc::new(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_kept_and_of_a_restless_server_less() {
        let history = History::default();
        history.note(0, Shown::Up, None);
        history.note(5, Shown::Up, None);
        history.note(10, Shown::Down, Some(&"gone".into()));
        assert_eq!(history.get().len(), 2, "only what is new");
        history.note(DAY + 5, Shown::Up, None);
        let at: Vec<i64> = history.get().iter().map(|change| change.at).collect();
        assert_eq!(at, [10, DAY + 5]);
        for i in 0..1_000 {
            let phase = if i % 2 == 0 { Shown::Down } else { Shown::Up };
            history.note(DAY + 10 + i, phase, None);
        }
        let kept = history.get();
        assert_eq!((kept.len(), kept.last().unwrap().at), (MOST, DAY + 1_009));
    }
}

//! Which requests of which router run where: pure, time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A router that says nothing for so long has no requests, as far as is known.
const SILENT: Duration = Duration::from_secs(3);
/// How often a router says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// How often everything is told again, for whoever has not heard it.
const AGAIN: Duration = Duration::from_secs(10);
/// Pools of one message, at most.
const MOST_TOLD: usize = 64;
/// Routers that are listened to, and pools of each.
const MOST_ROUTERS: usize = 256;
const MOST_POOLS: usize = 16_384;

#[derive(Debug)]
pub(super) struct State {
    /// What this router has told.
    told: BTreeMap<Arc<str>, u32>,
    /// Where to go on, when there was more than fits.
    from: Option<Arc<str>>,
    beat: Instant,
    again: Instant,
    others: HashMap<Arc<str>, Router>,
    totals: HashMap<Box<str>, u32>,
}

#[derive(Debug)]
struct Router {
    heard: Instant,
    running: HashMap<Box<str>, u32>,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            told: BTreeMap::new(),
            from: None,
            beat: now,
            again: now + AGAIN,
            others: HashMap::new(),
            totals: HashMap::new(),
        }
    }

    /// What to tell of what runs now: what has changed, as much as fits; an empty list says that this router is there.
    pub(super) fn tell(
        &mut self,
        running: &BTreeMap<Arc<str>, u32>,
        now: Instant,
    ) -> Option<Vec<(String, u32)>> {
        if now >= self.again {
            self.again = now + AGAIN;
            self.told.retain(|pool, _| !running.contains_key(pool));
        }
        let ended = self.told.keys().filter(|pool| !running.contains_key(*pool));
        let mut news: BTreeMap<Arc<str>, u32> = ended.map(|pool| (Arc::clone(pool), 0)).collect();
        for (pool, count) in running {
            if self.told.get(pool) != Some(count) {
                news.insert(Arc::clone(pool), *count);
            }
        }
        let start = self.from.take();
        let behind = news.iter().filter(|(pool, _)| Some(*pool) > start.as_ref());
        let before = news
            .iter()
            .filter(|(pool, _)| Some(*pool) <= start.as_ref());
        let part: Vec<_> = behind.chain(before).take(MOST_TOLD).collect();
        if part.is_empty() && now < self.beat {
            return None;
        }
        self.beat = now + BEAT;
        if part.len() < news.len() {
            self.from = part.last().map(|(pool, _)| Arc::clone(pool));
        }
        let mut told = Vec::with_capacity(part.len());
        for (pool, count) in part {
            match count {
                0 => drop(self.told.remove(pool)),
                count => drop(self.told.insert(Arc::clone(pool), *count)),
            }
            told.push((pool.to_string(), *count));
        }
        Some(told)
    }

    /// A router has told this; the pools whose sums are different now.
    pub(super) fn heard(
        &mut self,
        from: &Arc<str>,
        pools: Vec<(String, u32)>,
        now: Instant,
    ) -> Vec<(Box<str>, u32)> {
        if !self.others.contains_key(from) && self.others.len() >= MOST_ROUTERS {
            return Vec::new();
        }
        let router = self
            .others
            .entry(Arc::clone(from))
            .or_insert_with(|| Router {
                heard: now,
                running: HashMap::new(),
            });
        router.heard = now;
        let mut changed = BTreeSet::new();
        for (pool, count) in pools {
            let pool: Box<str> = pool.into();
            if count == 0 {
                router.running.remove(&pool);
            } else if router.running.len() < MOST_POOLS || router.running.contains_key(&pool) {
                router.running.insert(pool.clone(), count);
            }
            changed.insert(pool);
        }
        self.summed(changed)
    }

    /// Routers that are silent have nothing any more.
    pub(super) fn pass(&mut self, now: Instant) -> Vec<(Box<str>, u32)> {
        let mut changed = BTreeSet::new();
        self.others.retain(|_, router| {
            let stays = now.saturating_duration_since(router.heard) < SILENT;
            if !stays {
                changed.extend(router.running.drain().map(|(pool, _)| pool));
            }
            stays
        });
        self.summed(changed)
    }

    /// Everything that runs elsewhere.
    pub(super) fn totals(&self) -> impl Iterator<Item = (&str, u32)> {
        self.totals.iter().map(|(pool, count)| (&**pool, *count))
    }

    fn summed(&mut self, pools: BTreeSet<Box<str>>) -> Vec<(Box<str>, u32)> {
        let mut changed = Vec::new();
        for pool in pools {
            let running = self
                .others
                .values()
                .filter_map(|router| router.running.get(&pool));
            let sum = running.fold(0_u32, |sum, count| sum.saturating_add(*count));
            let former = match sum {
                0 => self.totals.remove(&pool),
                sum => self.totals.insert(pool.clone(), sum),
            };
            if former.unwrap_or(0) != sum {
                changed.push((pool, sum));
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pools: &[(&str, u32)]) -> BTreeMap<Arc<str>, u32> {
        pools
            .iter()
            .map(|(pool, count)| ((*pool).into(), *count))
            .collect()
    }

    fn told(pools: &[(&str, u32)]) -> Vec<(String, u32)> {
        pools
            .iter()
            .map(|(pool, count)| ((*pool).to_owned(), *count))
            .collect()
    }

    #[test]
    fn what_has_changed_is_told_and_that_the_router_is_there() {
        let now = Instant::now();
        let mut state = State::new(now);
        assert_eq!(
            state.tell(&running(&[("a", 1), ("b", 2)]), now),
            Some(told(&[("a", 1), ("b", 2)]))
        );
        assert_eq!(state.tell(&running(&[("a", 1), ("b", 2)]), now), None);
        assert_eq!(
            state.tell(&running(&[("a", 1)]), now),
            Some(told(&[("b", 0)]))
        );
        assert_eq!(
            state.tell(&running(&[("a", 1)]), now + BEAT),
            Some(Vec::new())
        );
        assert_eq!(
            state.tell(&running(&[("a", 1)]), now + AGAIN),
            Some(told(&[("a", 1)]))
        );
    }

    #[test]
    fn more_than_fits_is_told_in_turn() {
        let now = Instant::now();
        let mut state = State::new(now);
        let names: Vec<String> = (0..150).map(|pool| format!("{pool:03}")).collect();
        let mut heard = BTreeSet::new();
        for count in 1..=3 {
            let pools: Vec<_> = names.iter().map(|name| (&**name, count)).collect();
            let told = state.tell(&running(&pools), now).unwrap();
            assert_eq!(told.len(), MOST_TOLD);
            heard.extend(told.into_iter().map(|(pool, _)| pool));
        }
        assert_eq!(
            heard.len(),
            150,
            "all had their turn, though the first go on changing"
        );
    }

    #[test]
    fn what_runs_elsewhere_is_summed_and_forgotten_when_its_router_is_silent() {
        let now = Instant::now();
        let mut state = State::new(now);
        let (b, c) = (Arc::from("b"), Arc::from("c"));
        let changed = |pools: &[(&str, u32)]| -> Vec<(Box<str>, u32)> {
            pools
                .iter()
                .map(|(pool, count)| ((*pool).into(), *count))
                .collect()
        };
        assert_eq!(
            state.heard(&b, told(&[("x", 2)]), now),
            changed(&[("x", 2)])
        );
        let later = now + Duration::from_secs(2);
        assert_eq!(
            state.heard(&c, told(&[("x", 1), ("y", 1)]), later),
            changed(&[("x", 3), ("y", 1)])
        );
        assert_eq!(
            state.heard(&c, told(&[("y", 0)]), later),
            changed(&[("y", 0)])
        );
        assert_eq!(state.pass(now + SILENT), changed(&[("x", 1)]));
        assert_eq!(state.totals().collect::<Vec<_>>(), [("x", 1)]);
    }
}

//! Which calls there are and who reads them, pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::ModelName;
use crate::models::targets::Meant;

/// So many run at once.
const MOST_RUNNING: usize = 64;
/// So many of those that have ended are shown.
const MOST_ENDED: usize = 100;

/// What makes two calls the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::models) struct Key {
    pub(in crate::models) model: ModelName,
    /// The registry may be asked without TLS.
    pub(in crate::models) insecure: bool,
    /// The servers it may be for.
    pub(in crate::models) meant: Meant,
}

/// The servers that a call is for now; those of one that runs were chosen earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::models) struct Wanted {
    /// By name.
    pub(in crate::models) servers: Vec<Arc<str>>,
    /// How many in all. More than are named: whichever they are.
    pub(in crate::models) count: usize,
}

impl Wanted {
    pub(super) fn is_covered_by(&self, servers: &[Arc<str>]) -> bool {
        servers.len() >= self.count && self.servers.iter().all(|name| servers.contains(name))
    }
}

/// All calls; `J` is what is kept of each.
#[derive(Debug)]
pub(super) struct State<J> {
    running: BTreeMap<u64, Running<J>>,
    ended: VecDeque<(u64, Running<J>)>,
}

#[derive(Debug)]
pub(super) struct Running<J> {
    pub(super) job: J,
    key: Option<Key>,
    pub(super) kept: bool,
    pub(super) readers: usize,
    /// It was told to end.
    stopping: bool,
}

impl<J> Default for State<J> {
    fn default() -> Self {
        Self {
            running: BTreeMap::new(),
            ended: VecDeque::new(),
        }
    }
}

impl<J> State<J> {
    /// One more reader of the call that does the same, if one runs. `covers`: it is done on all servers it has to be.
    pub(super) fn join(
        &mut self,
        key: Option<&Key>,
        kept: bool,
        covers: impl Fn(&J) -> bool,
    ) -> Option<(u64, &J)> {
        let key = key?;
        let mut all = self.running.iter_mut();
        let (id, running) = all.find(|(_, running)| {
            running.key.as_ref() == Some(key) && !running.stopping && covers(&running.job)
        })?;
        running.readers += 1;
        running.kept |= kept;
        Some((*id, &running.job))
    }

    pub(super) fn is_full(&self) -> bool {
        self.running.len() >= MOST_RUNNING
    }

    /// A call has begun, with one reader.
    pub(super) fn begin(&mut self, id: u64, key: Option<Key>, kept: bool, job: J) {
        let running = Running {
            job,
            key,
            kept,
            readers: 1,
            stopping: false,
        };
        self.running.insert(id, running);
    }

    /// A reader has left: the call that ends with it.
    pub(super) fn left(&mut self, id: u64) -> Option<&J> {
        let ended = self.ended.iter_mut().find(|(ended, _)| *ended == id);
        let running = match self.running.get_mut(&id) {
            Some(running) => running,
            None => &mut ended?.1,
        };
        running.readers = running.readers.saturating_sub(1);
        if running.readers > 0 || running.kept || running.stopping {
            return None;
        }
        running.stopping = true;
        Some(&running.job)
    }

    /// It is to end: the call, if it runs. One that has ended is forgotten. `None` when there is none.
    pub(super) fn cancel(&mut self, id: u64) -> Option<Option<&J>> {
        if let Some(running) = self.running.get_mut(&id) {
            running.stopping = true;
            return Some(Some(&running.job));
        }
        let at = self.ended.iter().position(|(ended, _)| *ended == id)?;
        self.ended.remove(at);
        Some(None)
    }

    /// It has ended. `shown`: operators are told of it for a while.
    pub(super) fn ended(&mut self, id: u64, shown: bool) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        if shown {
            self.ended.push_back((id, running));
            if self.ended.len() > MOST_ENDED {
                self.ended.pop_front();
            }
        }
    }

    /// A call that runs.
    pub(super) fn running(&self, id: u64) -> Option<&J> {
        self.running.get(&id).map(|running| &running.job)
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Running<J>)> {
        let ended = self.ended.iter().map(|(id, ended)| (*id, ended));
        ended.chain(self.running.iter().map(|(id, running)| (*id, running)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str) -> Key {
        Key {
            model: ModelName::parse(model).unwrap(),
            insecure: false,
            meant: Meant::default(),
        }
    }

    fn any<J>(_: &J) -> bool {
        true
    }

    #[test]
    fn a_call_is_joined_by_whoever_wants_it_on_no_other_servers() {
        let names = |text: &str| -> Vec<Arc<str>> {
            text.chars().map(|one| one.to_string().into()).collect()
        };
        let covers = |runs: &str, servers: &str, count: usize| {
            let wanted = Wanted {
                servers: names(servers),
                count,
            };
            wanted.is_covered_by(&names(runs))
        };
        assert!(covers("abc", "ab", 2));
        assert!(!covers("a", "ab", 2));
        assert!(covers("ab", "b", 2));
        assert!(!covers("a", "", 2));
        let mut state = State::default();
        state.begin(1, Some(key("a")), false, "a");
        assert!(state.join(Some(&key("a")), false, |_| false).is_none());
    }

    #[test]
    fn the_same_call_is_joined_and_ends_with_its_last_reader() {
        let mut state = State::default();
        assert!(state.join(Some(&key("a")), false, any).is_none());
        state.begin(1, Some(key("a")), false, "a");
        assert_eq!(
            state.join(Some(&key("A:latest")), false, any),
            Some((1, &"a"))
        );
        assert!(state.join(Some(&key("b")), false, any).is_none());
        assert!(state.join(None, false, any).is_none());
        assert_eq!(state.left(1), None);
        assert_eq!(state.left(1), Some(&"a"));
        // It is on its way out: whoever comes now begins anew.
        assert!(state.join(Some(&key("a")), false, any).is_none());
        assert_eq!(state.left(7), None);
    }

    #[test]
    fn what_an_operator_has_started_or_joined_outlives_its_readers() {
        let mut state = State::default();
        state.begin(1, Some(key("a")), true, "a");
        assert_eq!(state.left(1), None);
        state.begin(2, Some(key("b")), false, "b");
        assert!(state.join(Some(&key("b")), true, any).is_some());
        assert_eq!(state.left(2), None);
        assert_eq!(state.left(2), None);
        assert_eq!(state.cancel(2), Some(Some(&"b")));
        state.ended(2, true);
        assert_eq!(state.cancel(2), Some(None));
        assert_eq!(state.cancel(2), None);
    }

    #[test]
    fn neither_what_runs_nor_what_has_ended_is_without_bound() {
        let mut state = State::default();
        for id in 0..500 {
            if !state.is_full() {
                state.begin(id, None, false, ());
            }
            if id % 2 == 0 {
                state.ended(id, id % 4 == 0);
            }
        }
        assert!(state.is_full());
        for id in 0..1000 {
            state.begin(id, None, false, ());
            state.ended(id, true);
        }
        assert_eq!(state.ended.len(), MOST_ENDED);
    }
}

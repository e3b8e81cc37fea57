//! What requests of this router change of what the server has loaded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Effects, State};
use crate::fleet::slot_pool::SlotPool;

/// So long a server may go on listing a model that it was told to unload, before that counts as what it has.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked meanwhile.
pub(super) const LET_GO_WATCH: Duration = Duration::from_millis(20);

/// A model that the server was told to unload. It does so after its answer, so its next list may be from
/// before.
#[derive(Debug)]
pub(super) struct Leaving {
    pool: Arc<SlotPool>,
    until: Instant,
}

impl State {
    /// A request has unloaded the model: for sure, or at its end, if nothing else uses it.
    pub(in crate::fleet::endpoint) fn unloaded(
        &mut self,
        pool: &Arc<SlotPool>,
        for_sure: bool,
        now: Instant,
    ) -> Effects {
        self.leaving
            .retain(|other| other.pool.serial() != pool.serial());
        self.leaving.push(Leaving {
            pool: Arc::clone(pool),
            until: now + LETS_GO_WITHIN,
        });
        let mut effects = Effects::default();
        if for_sure {
            let model = pool.model();
            self.warm.remove(model);
            let running = self.report.running.iter();
            let left: Vec<_> = running.filter(|listed| listed.name != *model).collect();
            self.report.running = left.into_iter().cloned().collect();
            self.publish_warm();
            effects.changed = true;
        }
        effects
    }

    /// What is loaded was asked after so many changes; says whether that is new. It is not yet known
    /// while a model is listed that is leaving, and that no request uses.
    pub(in crate::fleet::endpoint) fn settled(&mut self, as_of: u64, now: Instant) -> bool {
        let running = &self.report.running;
        self.leaving.retain(|leaving| {
            let mut running = running.iter();
            let is_listed = running.any(|listed| listed.name == *leaving.pool.model());
            is_listed && leaving.pool.in_flight() == 0 && now < leaving.until
        });
        self.leaving.is_empty() && std::mem::replace(&mut self.report.loaded_as_of, as_of) != as_of
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::backend::{Answer, Probe};
    use crate::domain::ModelName;
    use crate::fleet::endpoint::Report;
    use crate::fleet::endpoint::state::Intervals;
    use crate::protocol::parse_ps;
    use crate::upstream::Failure;

    fn pool(model: &str) -> Arc<SlotPool> {
        Arc::new(SlotPool::new(ModelName::parse(model).unwrap(), model, 2))
    }

    #[test]
    fn what_was_unloaded_is_neither_listed_nor_warm_until_the_server_says_so() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        let list = br#"{"models":[{"name":"a","expires_at":"2030-01-01T00:00:00Z"},{"name":"b","expires_at":"2030-01-01T00:00:00Z"}]}"#;
        let listed = || Ok(Answer::Loaded(parse_ps(list).unwrap().models));
        state.probed(listed(), Probe::Loaded, now, now);
        let names = |state: &State| {
            let running = state.report().running.iter();
            let running: Vec<_> = running.map(|model| model.name.to_string()).collect();
            let warm = state.report().warm.iter().map(ToString::to_string);
            (running, warm.collect::<Vec<_>>())
        };
        let both = vec!["a:latest".to_owned(), "b:latest".to_owned()];
        assert_eq!(names(&state), (both.clone(), both.clone()));
        assert!(state.unloaded(&pool("A"), true, now).changed);
        assert_eq!(names(&state), (both[1..].to_vec(), both[1..].to_vec()));
        // It finishes a request with it first.
        state.probed(listed(), Probe::Loaded, now, now);
        assert_eq!(names(&state), (both.clone(), both));
    }

    #[test]
    fn a_list_is_news_when_it_is_of_more_changes() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        assert!(!state.settled(0, now));
        assert!(state.settled(2, now));
        assert!(!state.settled(2, now));
        assert_eq!(state.report().loaded_as_of, 2);
    }

    #[test]
    fn a_list_that_has_a_model_which_is_leaving_is_asked_for_again_for_a_while() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        let list = br#"{"models":[{"name":"a","expires_at":"2030-01-01T00:00:00Z"}]}"#;
        let listed = || Ok(Answer::Loaded(parse_ps(list).unwrap().models));
        let intervals = Intervals {
            alive: Duration::from_secs(2),
            loaded: Duration::from_secs(5),
            models: Duration::from_secs(60),
        };
        let next = |state: &State| state.next(Probe::Loaded, &intervals).unwrap();
        let a = pool("a");
        state.probed(listed(), Probe::Loaded, now, now);
        assert!(!state.unloaded(&a, false, now).changed, "it may be used");
        state.probed(listed(), Probe::Loaded, now, now);
        assert!(!state.settled(1, now));
        assert_eq!(next(&state), LET_GO_WATCH);
        // It is gone; or it is there for good; or it is used; or the server says nothing.
        let cases = [
            (Ok(Answer::Loaded(Vec::new())), now, false),
            (listed(), now + LETS_GO_WITHIN, false),
            (listed(), now, true),
            (Err(Failure::Silent), now, false),
        ];
        for (as_of, (answer, at, used)) in (2..).zip(cases) {
            state.probed(listed(), Probe::Loaded, now, now);
            state.unloaded(&a, false, now);
            let _used = used.then(|| a.take(u32::MAX));
            state.probed(answer, Probe::Loaded, at, at);
            assert!(state.settled(as_of, at), "case {as_of}");
            assert_eq!(next(&state), intervals.loaded);
        }
    }
}

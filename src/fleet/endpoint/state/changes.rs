//! What requests of this router change of what the server has loaded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Effects, State};
use crate::backend::Probe;
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
    /// The server has loaded the model. Whether it works the first answer shows.
    pub(in crate::fleet::endpoint) fn loaded(&mut self, pool: &SlotPool, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if self.is_loading(pool) {
            self.loading = None;
            effects.changed = true;
        }
        effects.changed |= self.no_longer_overdue(pool);
        effects.changed |= self.warm.insert(pool.model().clone(), now).is_none();
        if effects.changed {
            self.publish_warm();
            effects.ask.push(Probe::Loaded);
        }
        effects
    }

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
            // Another name may be the one that its weights were loaded under.
            let shared = self
                .report
                .running_as(model)
                .map(|listed| listed.name.clone());
            let shared = shared.as_ref().unwrap_or(model);
            self.warm.remove(model);
            self.warm.remove(shared);
            let running = self.report.running.iter();
            let left: Vec<_> = running.filter(|listed| listed.name != *shared).collect();
            self.report.running = left.into_iter().cloned().collect();
            self.publish_warm();
            effects.changed = true;
        }
        effects
    }

    /// Whether a model is leaving that this router had unloaded.
    pub(in crate::fleet::endpoint) fn lets_go(&self) -> bool {
        !self.leaving.is_empty()
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
    use crate::backend::Answer;
    use crate::domain::ModelName;
    use crate::faults::Fault;
    use crate::fleet::endpoint::Report;
    use crate::fleet::endpoint::state::Intervals;
    use crate::fleet::lease::Outcome;
    use crate::protocol::parse_ps;
    use crate::upstream::Failure;

    fn pool(model: &str) -> Arc<SlotPool> {
        SlotPool::alone(model, 2)
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
    fn a_loaded_model_takes_requests_before_its_first_answer() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        let (a, b) = (pool("a"), pool("b"));
        let granted = state.acquire(&a, None, now);
        assert!(!state.is_direct(&a));
        assert!(state.loaded(&a, now).changed);
        assert!(state.is_direct(&a), "of those that wait, all may come");
        assert!(state.acquire(&b, None, now).0.is_ok(), "nothing loads");
        assert!(!state.loaded(&a, now).changed, "said again");
        drop(granted);
    }

    #[test]
    fn a_model_that_has_failed_is_not_cleared_by_its_load() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        let a = pool("a");
        let failed = Outcome::Failed(Fault::Broken);
        state.released(&a, failed, false, now);
        state.loaded(&a, now);
        assert!(!state.is_direct(&a), "its first answer shows it");
    }

    #[test]
    fn names_with_one_digest_are_loaded_and_unloaded_together() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        let tags = br#"{"models":[{"name":"a","digest":"1"},{"name":"b","digest":"1"},{"name":"c","digest":"2"},{"name":"d"}]}"#;
        let tags = Answer::Models(crate::protocol::parse_tags(tags).unwrap().models);
        let ps = br#"{"models":[{"name":"a","digest":"1","expires_at":"2030-01-01T00:00:00Z"},{"name":"e"}]}"#;
        let ps = || Ok(Answer::Loaded(parse_ps(ps).unwrap().models));
        let warm = |state: &State| {
            let warm = state.report().warm.iter();
            warm.map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        // Whichever list comes first.
        state.probed(ps(), Probe::Loaded, now, now);
        state.probed(Ok(tags), Probe::Models, now, now);
        assert_eq!(warm(&state), "a:latest b:latest e:latest");
        let later = now + Duration::from_secs(1);
        state.probed(ps(), Probe::Loaded, later, later);
        assert_eq!(warm(&state), "a:latest b:latest e:latest");
        assert!(state.is_direct(&pool("b")) && !state.is_direct(&pool("c")));
        state.unloaded(&pool("b"), true, later);
        assert_eq!(warm(&state), "e:latest");
        let running = state.report().running.iter().map(|model| &model.name);
        assert_eq!(
            running.collect::<Vec<_>>(),
            [&ModelName::parse("e").unwrap()]
        );
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
            let _used = used.then(|| a.take_any());
            state.probed(answer, Probe::Loaded, at, at);
            assert!(state.settled(as_of, at), "case {as_of}");
            assert_eq!(next(&state), intervals.loaded);
        }
    }
}

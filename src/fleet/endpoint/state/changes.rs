//! What requests of this router change of what the server has loaded.

use super::{Effects, State};
use crate::domain::ModelName;

impl State {
    /// A request has unloaded the model.
    pub(in crate::fleet::endpoint) fn unloaded(&mut self, model: &ModelName) -> Effects {
        self.warm.remove(model);
        let running = self.report.running.iter();
        let left: Vec<_> = running.filter(|listed| listed.name != *model).collect();
        self.report.running = left.into_iter().cloned().collect();
        self.publish_warm();
        Effects {
            changed: true,
            ..Effects::default()
        }
    }

    /// What is loaded was asked after so many changes; says whether that is new.
    pub(in crate::fleet::endpoint) fn settled(&mut self, as_of: u64) -> bool {
        std::mem::replace(&mut self.report.loaded_as_of, as_of) != as_of
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::backend::{Answer, Probe};
    use crate::fleet::endpoint::Report;
    use crate::protocol::parse_ps;

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
        assert!(state.unloaded(&ModelName::parse("A").unwrap()).changed);
        assert_eq!(names(&state), (both[1..].to_vec(), both[1..].to_vec()));
        // It finishes a request with it first.
        state.probed(listed(), Probe::Loaded, now, now);
        assert_eq!(names(&state), (both.clone(), both));
    }

    #[test]
    fn a_list_is_news_when_it_is_of_more_changes() {
        let now = Instant::now();
        let mut state = State::new(Report::unknown(now), true, None, now);
        assert!(!state.settled(0));
        assert!(state.settled(2));
        assert!(!state.settled(2));
        assert_eq!(state.report().loaded_as_of, 2);
    }
}

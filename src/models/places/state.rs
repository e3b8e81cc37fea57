//! Which servers were chosen for which blob, pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A choice is remembered for so long after it was last used.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// A blob that is new belongs to the one before it, if that was named so lately.
const TOGETHER: Duration = Duration::from_secs(10 * 60);
/// No more are remembered.
const MOST: usize = 4096;

/// What is asked.
#[derive(Clone, Debug)]
pub(in crate::models) struct Question {
    /// The blob.
    pub(in crate::models) digest: String,
    /// The servers that its sender is limited to.
    pub(in crate::models) within: Within,
    /// Those that would be chosen now.
    pub(in crate::models) now: Vec<Arc<str>>,
    /// Those that could be.
    pub(in crate::models) possible: Vec<Arc<str>>,
}

type Within = Vec<Arc<[String]>>;

#[derive(Clone, Debug)]
struct Place {
    servers: Vec<Arc<str>>,
    used: Instant,
}

/// What one has sent who is limited to some servers says nothing about where the blobs of others go.
#[derive(Debug, Default)]
pub(super) struct State {
    places: HashMap<(Within, String), Place>,
}

impl State {
    /// The servers for a blob.
    pub(super) fn choose(&mut self, question: Question, now: Instant) -> Vec<Arc<str>> {
        let age = |place: &Place| now.saturating_duration_since(place.used);
        self.places.retain(|_, place| age(place) < REMEMBERED);
        let Question {
            digest,
            within,
            now: fresh,
            possible,
        } = question;
        let is_left = |place: &&Place| place.servers.iter().any(|one| possible.contains(one));
        let key = (within, digest);
        let known = self.places.get(&key).filter(is_left);
        let same = self.places.iter().filter(|(other, _)| other.0 == key.0);
        let last = same.map(|(_, place)| place).max_by_key(|it| it.used);
        let last = last.filter(|it| age(it) < TOGETHER).filter(is_left);
        let servers = known.or(last).map_or(fresh, |place| place.servers.clone());
        let place = Place {
            servers: servers.clone(),
            used: now,
        };
        self.make_room(&key);
        self.places.insert(key, place);
        servers
    }

    /// The one that was not used for longest goes.
    fn make_room(&mut self, key: &(Within, String)) {
        if self.places.len() < MOST || self.places.contains_key(key) {
            return;
        }
        let oldest = self.places.iter().min_by_key(|(_, place)| place.used);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.places.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "abcd";

    fn names(servers: &str) -> Vec<Arc<str>> {
        servers.chars().map(|one| one.to_string().into()).collect()
    }

    fn chosen(state: &mut State, digest: &str, within: &str, fresh: &str, at: Instant) -> String {
        let question = Question {
            digest: digest.to_owned(),
            within: within.chars().map(|one| [one.to_string()].into()).collect(),
            now: names(fresh),
            possible: names(ALL),
        };
        state.choose(question, at).concat()
    }

    #[test]
    fn a_blob_goes_where_it_went_before_for_an_hour() {
        let (mut state, start) = (State::default(), Instant::now());
        let minutes = |n: u64| start + Duration::from_secs(60 * n);
        assert_eq!(chosen(&mut state, "x", "", "a", start), "a");
        assert_eq!(chosen(&mut state, "x", "", "b", minutes(59)), "a");
        assert_eq!(
            chosen(&mut state, "x", "", "b", minutes(118)),
            "a",
            "used again"
        );
        assert_eq!(chosen(&mut state, "x", "", "b", minutes(178)), "b");
        // Its sender is another, or all of them are gone.
        assert_eq!(chosen(&mut state, "x", "c", "c", minutes(179)), "c");
        assert_eq!(chosen(&mut state, "x", "", "d", minutes(180)), "b");
        state.places.clear();
        assert_eq!(chosen(&mut state, "x", "", "z", start), "z");
        assert_eq!(chosen(&mut state, "x", "", "b", start), "b");
    }

    #[test]
    fn blobs_that_follow_one_another_go_to_the_same_servers() {
        let (mut state, start) = (State::default(), Instant::now());
        let minutes = |n: u64| start + Duration::from_secs(60 * n);
        assert_eq!(chosen(&mut state, "x", "", "a", start), "a");
        assert_eq!(chosen(&mut state, "y", "", "b", minutes(9)), "a");
        assert_eq!(chosen(&mut state, "z", "c", "c", minutes(10)), "c");
        assert_eq!(chosen(&mut state, "v", "", "b", minutes(11)), "a");
        assert_eq!(chosen(&mut state, "w", "", "d", minutes(30)), "d");
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (mut state, start) = (State::default(), Instant::now());
        for n in 0..2 * MOST as u64 {
            let at = start + Duration::from_millis(n);
            chosen(&mut state, &n.to_string(), "", "a", at);
        }
        assert_eq!(state.places.len(), MOST);
        assert!(!state.places.contains_key(&(Vec::new(), "0".to_owned())));
    }
}

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
    /// The servers that the client has named.
    pub(in crate::models) only: Vec<Box<str>>,
    /// Those that would be chosen now.
    pub(in crate::models) now: Vec<Arc<str>>,
    /// Those that could be.
    pub(in crate::models) possible: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Place {
    only: Vec<Box<str>>,
    servers: Vec<Arc<str>>,
    used: Instant,
}

#[derive(Debug, Default)]
pub(super) struct State {
    places: HashMap<String, Place>,
    /// The one used last.
    last: Option<Place>,
}

impl State {
    /// The servers for a blob.
    pub(super) fn choose(&mut self, question: Question, now: Instant) -> Vec<Arc<str>> {
        let age = |place: &Place| now.saturating_duration_since(place.used);
        self.places.retain(|_, place| age(place) < REMEMBERED);
        let Question {
            digest,
            only,
            now: fresh,
            possible,
        } = question;
        let fits = |place: &&Place, within| {
            // Who names servers means these and no others.
            (only.is_empty() || place.only == only)
                && age(place) < within
                && place.servers.iter().any(|server| possible.contains(server))
        };
        let known = self.places.get(&digest).filter(|it| fits(it, REMEMBERED));
        let last = self.last.as_ref();
        let last = last.filter(|it| it.only == only && fits(it, TOGETHER));
        let servers = known.or(last).map_or(fresh, |place| place.servers.clone());
        let place = Place {
            only,
            servers: servers.clone(),
            used: now,
        };
        self.make_room(&digest);
        self.last = Some(place.clone());
        self.places.insert(digest, place);
        servers
    }

    /// The one that was not used for longest goes.
    fn make_room(&mut self, digest: &str) {
        if self.places.len() < MOST || self.places.contains_key(digest) {
            return;
        }
        let oldest = self.places.iter().min_by_key(|(_, place)| place.used);
        if let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) {
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

    fn chosen(state: &mut State, digest: &str, only: &str, fresh: &str, at: Instant) -> String {
        let question = Question {
            digest: digest.to_owned(),
            only: only.chars().map(|one| one.to_string().into()).collect(),
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
        // Other servers are named, or all of them are gone.
        assert_eq!(chosen(&mut state, "x", "c", "c", minutes(179)), "c");
        state.places.clear();
        state.last = None;
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
        assert_eq!(chosen(&mut state, "v", "", "b", minutes(11)), "b");
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
        assert!(!state.places.contains_key("0"));
    }
}

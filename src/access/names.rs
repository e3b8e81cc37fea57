//! Names that clients make up, and how many of them are told apart.
//!
//! A request may name an end user and carry tags that nobody has announced. Each name becomes rows of
//! the tables and is kept in memory, so a client that makes up a new one for each request would fill both. So
//! the first so many are told apart, and everything under any further name is booked under [`OTHER`].
//! What has been booked in the database before counts as known, in the order of the names, so that a restart
//! changes nothing. Accounts that an operator made have their own names however many there are.
//!
//! Some programs put the state of a session where the name of a user belongs: that names nobody
//! ([`is_customer`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashSet;
use foldhash::fast::RandomState;
use serde::de::IgnoredAny;

/// Whoever is one too many.
pub(super) const OTHER: &str = "other";

/// The longest name of an end user.
const LONGEST_USER: usize = 128;
/// The length of a UUID in text.
const UUID: usize = 36;

/// The names of one kind that are told apart.
#[derive(Debug)]
pub(super) struct Names {
    known: DashSet<Arc<str>, RandomState>,
    /// How many those are; never more than `most` was when the last one came.
    count: AtomicUsize,
    most: AtomicUsize,
}

impl Names {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: DashSet::default(),
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        }
    }

    /// From now on; those that are known stay.
    pub(super) fn limit(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The name under which `name` is booked.
    pub(super) fn booked<'a>(&self, name: &'a str) -> &'a str {
        if name == OTHER || self.known.contains(name) {
            return name;
        }
        let most = self.most.load(Ordering::Relaxed);
        let room = |count: usize| (count < most).then_some(count + 1);
        let (order, read) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.count.fetch_update(order, read, room).is_err() {
            return OTHER;
        }
        if !self.known.insert(name.into()) {
            // Another request with the same name was quicker.
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        name
    }

    /// How many may still come.
    pub(super) fn room(&self) -> usize {
        let most = self.most.load(Ordering::Relaxed);
        most.saturating_sub(self.count.load(Ordering::Relaxed))
    }
}

/// Whether the text of a request's `user` can be the name of somebody: not what programs send that
/// keep a session in it (JSON, an address, an id of a session), nor what no table keeps.
pub(super) fn is_customer(user: &str) -> bool {
    let user = user.trim();
    let is_named = (1..=LONGEST_USER).contains(&user.len()) && !user.chars().any(char::is_control);
    is_named && !is_json(user) && !is_address(user) && !is_session(user)
}

/// A name may begin with a bracket; what begins with a brace is an object, cut off or not.
fn is_json(user: &str) -> bool {
    user.starts_with('{')
        || (user.starts_with(['[', '"']) && serde_json::from_str::<IgnoredAny>(user).is_ok())
}

fn is_address(user: &str) -> bool {
    user.contains("://") || user.starts_with("data:")
}

/// `user_…_account_…_session_UUID`: another one for each session.
fn is_session(user: &str) -> bool {
    let last = user.rsplit_once("session_").map_or("", |(_, last)| last);
    last.len() == UUID && uuid::Uuid::try_parse(last).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_names_are_told_apart_and_the_rest_is_one() {
        let names = Names::new(2);
        let booked = ["ann", "bob", "ann", "cleo", "bob", "dan", OTHER].map(|n| names.booked(n));
        assert_eq!(booked, ["ann", "bob", "ann", OTHER, "bob", OTHER, OTHER]);
        assert_eq!(names.room(), 0);
        names.limit(3);
        assert_eq!(names.booked("cleo"), "cleo");
        names.limit(1);
        assert_eq!(names.booked("cleo"), "cleo", "whoever is known stays");
        assert_eq!(names.booked("dan"), OTHER);
        assert_eq!(Names::new(0).booked("ann"), OTHER);
    }

    #[test]
    fn however_many_come_at_once_no_more_are_told_apart() {
        let names = Names::new(100);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..1_000 {
                        names.booked(&n.to_string());
                    }
                });
            }
        });
        assert!(names.known.len() <= 100, "{}", names.known.len());
        let all = (0..1_000).map(|n| n.to_string());
        let told = all.filter(|name| names.booked(name) == name).count();
        // A place that was held for a name another request had added is taken by the next one.
        assert_eq!(told, 100);
    }

    #[test]
    fn what_a_program_keeps_in_the_name_of_a_user_is_no_customer() {
        for customer in [
            "ann",
            "customer 7",
            "Zoë",
            "a@b.test",
            "[bot] x",
            "user_session_7",
        ] {
            assert!(is_customer(customer), "{customer}");
        }
        let session = format!(
            "user_{}_account__session_0b2f3c1e-8a57-4f0e-9c55-0d7c1a2b3c4d",
            "a".repeat(64)
        );
        for blob in [
            "",
            "  ",
            r#"{"device_id":"1","session_id":"2"}"#,
            r#"{"session_id":"cut of"#,
            r#"["a",1]"#,
            r#""quoted""#,
            "https://app.test/session/1",
            "app://x",
            "data:text/plain,x",
            "a\0b",
            "two\nlines",
            &session,
            &"x".repeat(129),
        ] {
            assert!(!is_customer(blob), "{blob}");
        }
    }
}

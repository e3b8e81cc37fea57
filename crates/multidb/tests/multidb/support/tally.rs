//! The answers users got, compared with what the databases hold.

use herdsman_multidb::Error;
use redis::RedisError;

use herdsman_test_support::redis::Server;

/// The answers of one user.
#[derive(Debug)]
pub struct UserCounts {
    pub key: String,
    pub acknowledged: u64,
    pub failures: Vec<Failure>,
}

/// A command that was not answered as meant.
#[derive(Debug)]
pub struct Failure {
    pub error: RedisError,
}

/// The answers of all users.
#[derive(Debug)]
pub struct Tally {
    pub users: Vec<UserCounts>,
}

impl UserCounts {
    pub fn new(key: String) -> Self {
        Self {
            key,
            acknowledged: 0,
            failures: Vec::new(),
        }
    }

    /// Commands that may or may not have taken effect.
    pub fn unknown(&self) -> u64 {
        self.failures
            .iter()
            .map(|failure| u64::from(failure.is_unknown()))
            .sum()
    }

    /// So much was found where the user counted.
    pub fn check(&self, found: u64) {
        let (least, unknown) = (self.acknowledged, self.unknown());
        assert!(
            (least..=least + unknown).contains(&found),
            "{}: {found} found, {least} acknowledged, {unknown} unknown: {:#?}",
            self.key,
            self.failures
        );
    }
}

impl Failure {
    /// Whether its outcome is unknown. Every other error means that it had no effect.
    pub fn is_unknown(&self) -> bool {
        Error::of(&self.error).is_some_and(|error| !error.was_not_sent())
    }

    /// Whether there was no database to send it to.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            Error::of(&self.error),
            Some(Error::TemporarilyUnavailable { .. } | Error::NoValidDatabase { .. })
        )
    }
}

impl Tally {
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.users.iter().flat_map(|counts| &counts.failures)
    }

    /// No user got more than so many failures.
    pub fn at_most_each(&self, most: usize) {
        for counts in &self.users {
            let failures = &counts.failures;
            assert!(failures.len() <= most, "{}: {failures:#?}", counts.key);
        }
    }

    /// Every failure says that its outcome is unknown: it was in flight.
    pub fn only_in_flight(&self) {
        for failure in self.failures() {
            assert!(failure.is_unknown(), "{failure:#?}");
        }
    }

    /// Every acknowledged count is there; beyond them only counts whose outcome was called
    /// unknown, each at most once.
    pub async fn check(&self, servers: &[&Server]) {
        let keys: Vec<_> = self
            .users
            .iter()
            .map(|counts| counts.key.as_str())
            .collect();
        let question = format!("MGET {}", keys.join(" "));
        let mut found = vec![0_u64; keys.len()];
        for server in servers {
            let counts: Vec<Option<u64>> = server.ask(&question).await.expect("counts");
            for (sum, count) in found.iter_mut().zip(counts) {
                *sum += count.unwrap_or(0);
            }
        }
        for (counts, found) in self.users.iter().zip(found) {
            counts.check(found);
        }
    }
}

//! What users were told, beside what the databases hold.

use herdsman_multidb::Error;
use redis::RedisError;

use herdsman_test_support::redis::Server;

/// What one user was told.
#[derive(Debug)]
pub struct Account {
    pub key: String,
    pub acknowledged: u64,
    pub failures: Vec<Failure>,
}

/// A command that was not answered as meant.
#[derive(Debug)]
pub struct Failure {
    pub error: RedisError,
}

/// What all of them were told.
#[derive(Debug)]
pub struct Tally {
    pub accounts: Vec<Account>,
}

impl Account {
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
    /// Whether the user was told that nobody knows. Everything else says: it had no effect.
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
        self.accounts.iter().flat_map(|account| &account.failures)
    }

    /// No user was told of more than so many failures.
    pub fn at_most_each(&self, most: usize) {
        for account in &self.accounts {
            let failures = &account.failures;
            assert!(failures.len() <= most, "{}: {failures:#?}", account.key);
        }
    }

    /// Whatever failed says honestly that its outcome is unknown: it was in flight.
    pub fn only_in_flight(&self) {
        for failure in self.failures() {
            assert!(failure.is_unknown(), "{failure:#?}");
        }
    }

    /// Every acknowledged count is there; beyond them only counts whose outcome was called
    /// unknown, each at most once.
    pub async fn check(&self, servers: &[&Server]) {
        let keys: Vec<_> = self
            .accounts
            .iter()
            .map(|account| account.key.as_str())
            .collect();
        let question = format!("MGET {}", keys.join(" "));
        let mut found = vec![0_u64; keys.len()];
        for server in servers {
            let counts: Vec<Option<u64>> = server.ask(&question).await.expect("counts");
            for (sum, count) in found.iter_mut().zip(counts) {
                *sum += count.unwrap_or(0);
            }
        }
        for (account, found) in self.accounts.iter().zip(found) {
            account.check(found);
        }
    }
}

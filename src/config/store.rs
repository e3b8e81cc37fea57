//! `[store]`: the database, and how long it keeps what.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::validate::Faults;
use super::{Secret, keep};

/// Which database, and what becomes of what is old in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Store {
    /// Empty: SQLite in [`data_dir`](super::Server::data_dir). Else one of [`SCHEMES`]. Secret as a whole,
    /// because its address usually carries a password.
    pub url: Secret,
    /// After this minutes are folded into days; `None`: never.
    #[serde(with = "keep")]
    pub keep_minutes: Option<Duration>,
    /// After this days are folded into one sum, and what else has a date is deleted; `None`: never.
    #[serde(with = "keep")]
    pub keep_days: Option<Duration>,
}

/// What a server's address begins with.
const SCHEMES: [&str; 4] = ["postgres://", "postgresql://", "mysql://", "mariadb://"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Store {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            keep_minutes: Some(90 * DAY),
            // A year has a quarter of a day more than 365.
            keep_days: Some(5 * 365 * DAY + 5 * DAY / 4),
        }
    }
}

pub(super) fn check(store: &Store, faults: &mut Faults) {
    let url = store.url.expose();
    if !url.is_empty() && !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        faults.add(
            "store.url",
            "must be empty, for SQLite in data_dir, or begin with postgres:// or mysql://",
        );
    }
    let ages = [
        ("store.keep_minutes", store.keep_minutes),
        ("store.keep_days", store.keep_days),
    ];
    for (key, kept) in ages {
        if kept.is_some_and(|kept| kept < DAY) {
            faults.add(key, "must be at least \"1d\", or \"\" for ever");
        }
    }
    // Of something that is kept for ever nothing is older.
    let minutes = store.keep_minutes.unwrap_or(Duration::MAX);
    if store.keep_days.is_some_and(|days| days < minutes) {
        faults.add(
            "store.keep_days",
            "must not be shorter than store.keep_minutes: minutes become days first",
        );
    }
}

//! `[store]`: the database.

use serde::{Deserialize, Serialize};

use super::Secret;

/// Which database; secret as a whole, because its address usually carries a password.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Store {
    /// Empty: SQLite in [`data_dir`](super::Server::data_dir). Else one of [`SCHEMES`].
    pub url: Secret,
}

/// What a server's address begins with.
pub(super) const SCHEMES: [&str; 4] = ["postgres://", "postgresql://", "mysql://", "mariadb://"];

//! `[access]`: who may call.

use serde::{Deserialize, Serialize};

use super::Secret;

/// Keys, in general.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Access {
    /// Whether every inference call needs a key.
    pub require_key: bool,
    /// Opens the admin calls. Empty: they are answered only to this machine itself.
    pub admin_key: Secret,
}

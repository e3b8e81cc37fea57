//! `[log]`: what is written down of requests.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The access log.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Log {
    /// The file to which each request adds a line of JSON when it is over; empty: none.
    pub access: PathBuf,
}

//! `[metrics]`: what `/metrics` says.

use serde::{Deserialize, Serialize};

/// Names for compatibility.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Metrics {
    /// Also emit the five queue gauges under their `litellm_` names.
    pub litellm_names: bool,
}

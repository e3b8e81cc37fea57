//! `[cluster]`: what several routers in front of the same servers do together.

use serde::{Deserialize, Serialize};

/// How they share.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Cluster {
    /// What the slots of one server mean to all of them.
    pub slots: SlotSharing,
}

/// How exactly slots that several routers share are kept to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotSharing {
    /// Each router may at any time have one request of a model on a server, whatever it has been given: of S slots
    /// and R routers at most S + R - 1 are in use.
    #[default]
    Safe,
    /// Never more than there are.
    Strict,
}

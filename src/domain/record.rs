//! What one request used, as it is written down before the client sees the end of its answer.

use std::sync::Arc;

use super::{Charge, ModelName, TokenCounts};

/// The usage of one answered request: the unit that is counted exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The endpoint's name, as in the configuration.
    pub endpoint: Arc<str>,
    /// The canonical model name.
    pub model: ModelName,
    /// When the answer ended, in Unix seconds.
    pub at: i64,
    /// What was read and written.
    pub tokens: TokenCounts,
    /// True when the server never said, so that the counts are estimates: pieces seen, prompt length.
    pub estimated: bool,
    /// Who is charged what for it.
    pub charge: Charge,
    /// True when the request failed and is written down because someone pays for it all the same,
    /// or wants to see it in a report.
    pub failed: bool,
}

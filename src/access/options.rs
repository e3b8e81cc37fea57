//! What was decided about access before the router started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::WhenRedisAway;
use crate::domain::{ModelName, Price};

/// See the fields.
#[derive(Clone)]
pub struct Options {
    /// Whether every inference call needs a key.
    pub require_key: bool,
    /// How many names of end users are told apart.
    pub end_users: usize,
    /// How long known keys outlive the database.
    pub outage_grace: Duration,
    /// What is done about shared limits when Redis is unavailable.
    pub when_redis_away: WhenRedisAway,
    /// The configuration's prices.
    pub prices: Vec<(ModelName, Price)>,
    /// How often the database is asked what is spent: [`SWEEP`](super::SWEEP).
    pub sweep: Duration,
    /// This router among those that share: another name after each start.
    pub router: Arc<str>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("require_key", &self.require_key)
            .field("end_users", &self.end_users)
            .field("outage_grace", &self.outage_grace)
            .field("when_redis_away", &self.when_redis_away)
            .field("prices", &self.prices.len())
            .field("sweep", &self.sweep)
            .field("router", &self.router)
            .finish()
    }
}

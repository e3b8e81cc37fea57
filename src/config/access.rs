//! `[access]`: who may call, and what is done when that cannot be found out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Secret, duration};

/// Keys, limits and budgets, in general.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Access {
    /// Whether every inference call needs a key.
    pub require_key: bool,
    /// Opens the admin calls. Empty: they are answered only to this machine itself.
    pub admin_key: Secret,
    /// What agents and workers show when they register. Empty: those of this machine itself may, and no others.
    pub join_key: Secret,
    /// Who may change which models the servers have.
    pub management: Management,
    /// How many names of end users are counted one by one; what is used under any further name is booked as
    /// used by `other`.
    pub end_users: usize,
    /// How long keys that were known before the database went away go on working without it.
    #[serde(with = "duration")]
    pub outage_grace: Duration,
    /// What is done about shared limits and budgets while Redis is unavailable.
    pub when_redis_away: WhenRedisAway,
}

/// Who may pull, push, create, copy and delete models.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Management {
    /// This machine itself, and whoever shows the admin key or a key that may.
    #[default]
    Admin,
    /// Whoever may use the models.
    Open,
    /// Nobody.
    Off,
}

/// What is done about a limit that several routers share and none can ask Redis about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenRedisAway {
    /// Each router goes on with its part of what was left when Redis last answered; one that has never
    /// had an answer refuses.
    #[default]
    LocalShare,
    /// What a router was not given before is refused.
    Refuse,
}

impl Access {
    /// What is wrong with the join key: workers of DB-GPT carry it in the path of an address, as it stands.
    pub(super) fn join_key_fault(&self) -> Option<&'static str> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = self.join_key.expose().bytes().all(unreserved);
        (!fits).then_some("must be of letters, digits and - . _ ~, because it travels in addresses")
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            require_key: false,
            admin_key: Secret::default(),
            join_key: Secret::default(),
            management: Management::default(),
            end_users: 10_000,
            outage_grace: Duration::from_secs(60 * 60),
            when_redis_away: WhenRedisAway::default(),
        }
    }
}

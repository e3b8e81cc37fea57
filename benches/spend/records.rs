//! Records of so many keys, each with a user and all in a team.

use std::sync::Arc;

use herdsman::domain::{Charge, EntityKind, ModelName, Payer, TokenCounts, UsageRecord};

pub struct Names {
    endpoint: Arc<str>,
    model: ModelName,
    keys: Vec<Arc<str>>,
    users: Vec<Arc<str>>,
    team: Arc<str>,
}

impl Names {
    pub fn of(keys: u64) -> Self {
        Self {
            endpoint: "gpu-1".into(),
            model: ModelName::parse("llama3.2").unwrap(),
            keys: (0..keys).map(hashed).collect(),
            users: (0..keys).map(|n| format!("user-{n}").into()).collect(),
            team: "team".into(),
        }
    }

    pub fn record(&self, n: u64) -> UsageRecord {
        let at = usize::try_from(n).unwrap() % self.keys.len();
        let payer = |kind, entity: &Arc<str>| Payer {
            kind,
            entity: Arc::clone(entity),
            period: 0,
        };
        UsageRecord {
            endpoint: Arc::clone(&self.endpoint),
            model: self.model.clone(),
            at: 1_795_305_480 + i64::try_from(n / 50_000).unwrap(),
            tokens: TokenCounts {
                input: 100,
                output: 200,
            },
            estimated: false,
            charge: Charge {
                nano_usd: 45_000,
                api_key: Arc::clone(&self.keys[at]),
                payers: [
                    payer(EntityKind::Key, &self.keys[at]),
                    payer(EntityKind::User, &self.users[at]),
                    payer(EntityKind::Team, &self.team),
                ]
                .into(),
            },
            failed: false,
        }
    }
}

/// As the hash of a key: two of them differ at their beginning.
fn hashed(n: u64) -> Arc<str> {
    let mut random = fastrand::Rng::with_seed(n);
    format!("{:032x}{:032x}", random.u128(..), random.u128(..)).into()
}

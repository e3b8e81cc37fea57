//! An account in JSON.
//!
//! Money is integer nano-USD, moments are Unix seconds, and what is without limit is `null`. The
//! same object is shown, made and changed: a change is a merge patch (RFC 7396), so what is left
//! out stays and `null` takes away.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Problem;
use crate::access::tags_of;
use crate::domain::{
    Account, AccountKind, Allowance, Budget, Limits, MOST_NANO_USD, ModelName, ModelRule, Period,
    is_account_id,
};

/// What can be said of an account of any kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Draft {
    /// For people.
    name: String,
    /// The id of the user a key belongs to.
    user: String,
    /// The id of the team a key belongs to.
    team: String,
    /// The id of the organisation a key, a user or a team belongs to.
    org: String,
    /// The id of a budget whose limits count where this account has none of its own.
    budget: String,
    /// What may be spent in a period.
    #[schemars(range(min = 0))]
    limit_nano_usd: Option<i64>,
    /// What may be spent in a period before it is said in the log.
    #[schemars(range(min = 0))]
    soft_limit_nano_usd: Option<i64>,
    /// How often the budget begins anew.
    #[schemars(example = &"none", example = &"1d", example = &"30d", example = &"month")]
    period: String,
    /// Requests a minute.
    #[schemars(range(min = 0))]
    rpm: Option<i64>,
    /// Tokens a minute.
    #[schemars(range(min = 0))]
    tpm: Option<i64>,
    /// Requests at once.
    #[schemars(range(min = 0))]
    parallel: Option<i64>,
    /// Limits that count for one model, by its name.
    model_limits: BTreeMap<String, Speed>,
    /// The models that may be used; all, where none is named.
    models: Vec<String>,
    /// The servers that requests may go to, by name or label; all, where none is named.
    servers: Vec<String>,
    /// Whether a key may pull, push, create, copy and delete models.
    manage: bool,
    /// Whatever else should be kept with it; `tags` are charged too.
    metadata: serde_json::Map<String, Value>,
    /// Whether it lets nobody in.
    blocked: bool,
    /// When a key ends.
    #[schemars(range(min = 0))]
    expires_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
struct Speed {
    /// Requests a minute.
    #[schemars(range(min = 0))]
    rpm: Option<i64>,
    /// Tokens a minute.
    #[schemars(range(min = 0))]
    tpm: Option<i64>,
    /// Requests at once.
    #[schemars(range(min = 0))]
    parallel: Option<i64>,
}

/// An account that is to be made.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "the id is read before the rest, whose unknown names are refused"
)]
pub(super) struct NewAccount {
    /// Not for keys, whose id follows from the key. Users, teams and organisations get one if none
    /// is given.
    id: Option<String>,
    #[serde(flatten)]
    draft: Draft,
}

/// An account as it is shown.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Account")]
pub(super) struct Shown {
    kind: &'static str,
    id: String,
    #[serde(flatten)]
    draft: Draft,
    /// When it was made.
    created_at: i64,
    /// Grows with every change.
    version: i64,
    /// False: it says something this version does not know, lets nobody in and cannot be changed here.
    /// Left out where it is true.
    #[serde(skip_serializing_if = "Clone::clone")]
    #[schemars(extend("default" = true))]
    understood: bool,
    /// When the running period of the budget began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    period_start: Option<i64>,
    /// What the database knows to be spent in that period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    spent_nano_usd: Option<i64>,
    /// The key itself: once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    key: Option<String>,
}

/// The longest name and the longest metadata that are kept.
const LONGEST: usize = 64 << 10;

impl Draft {
    /// What is said of an account now.
    pub(super) fn of(account: &Account) -> Self {
        let allowance = &account.allowance;
        let speed = |limits: &Limits| Speed {
            rpm: limits.rpm,
            tpm: limits.tpm,
            parallel: limits.parallel,
        };
        Self {
            name: account.name.clone(),
            user: account.user.clone(),
            team: account.team.clone(),
            org: account.org.clone(),
            budget: account.budget.clone(),
            limit_nano_usd: allowance.budget.limit,
            soft_limit_nano_usd: allowance.budget.soft,
            period: allowance.budget.period.to_string(),
            rpm: allowance.limits.rpm,
            tpm: allowance.limits.tpm,
            parallel: allowance.limits.parallel,
            model_limits: allowance
                .by_model
                .iter()
                .map(|(model, limits)| (model.clone(), speed(limits)))
                .collect(),
            models: account.models.iter().map(ToString::to_string).collect(),
            servers: account.servers.to_vec(),
            manage: account.manage,
            metadata: serde_json::from_str(&account.metadata).unwrap_or_default(),
            blocked: account.blocked,
            expires_at: account.expires_at,
        }
    }

    /// Reads what a client says.
    pub(super) fn read(object: serde_json::Map<String, Value>) -> Result<Self, Problem> {
        serde_json::from_value(Value::Object(object))
            .map_err(|error| Problem::wrong(error.to_string()))
    }

    /// The account it describes, or what is wrong with it.
    pub(super) fn account(
        self,
        kind: AccountKind,
        id: &str,
        created_at: i64,
    ) -> Result<Account, Problem> {
        let wrong = |key: &str, what: &str| Err(Problem::wrong(format!("{key}: {what}")));
        for (key, amount) in [
            ("limit_nano_usd", self.limit_nano_usd),
            ("soft_limit_nano_usd", self.soft_limit_nano_usd),
            ("rpm", self.rpm),
            ("tpm", self.tpm),
            ("parallel", self.parallel),
        ] {
            check(key, amount)?;
        }
        for (key, id) in [
            ("user", &self.user),
            ("team", &self.team),
            ("org", &self.org),
            ("budget", &self.budget),
        ] {
            if !id.is_empty() && !is_account_id(id) {
                return wrong(key, "is not an id");
            }
        }
        let belongs = match kind {
            AccountKind::Key => [true, true, true],
            AccountKind::User | AccountKind::Team => [false, false, true],
            _ => [false; 3],
        };
        for ((key, id), may) in [
            ("user", &self.user),
            ("team", &self.team),
            ("org", &self.org),
        ]
        .into_iter()
        .zip(belongs)
        {
            if !may && !id.is_empty() {
                return wrong(key, &format!("a {kind} belongs to none"));
            }
        }
        if kind == AccountKind::Budget && !self.budget.is_empty() {
            return wrong("budget", "a budget follows no other");
        }
        if kind != AccountKind::Key && self.expires_at.is_some() {
            return wrong("expires_at", "only keys expire");
        }
        if kind != AccountKind::Key && self.manage {
            return wrong("manage", "only keys manage models");
        }
        let Some(period) = Period::parse(&self.period) else {
            return wrong(
                "period",
                "must be none, month, or a duration such as 12h, 1d or 4w, from a minute to a year",
            );
        };
        let metadata = serde_json::to_string(&self.metadata).unwrap_or_default();
        if self.name.len() > LONGEST || metadata.len() > LONGEST {
            return wrong("metadata", "name and metadata may have 64 KiB each");
        }
        match tags_of(&Value::Object(self.metadata.clone())) {
            Err(problem) => return wrong("metadata", &format!("tags: {problem}")),
            Ok(tags)
                if !tags.is_empty() && matches!(kind, AccountKind::Tag | AccountKind::Budget) =>
            {
                return wrong("metadata", &format!("tags: a {kind} has none"));
            }
            Ok(_) => {}
        }
        let mut models = Vec::with_capacity(self.models.len());
        for written in &self.models {
            match ModelRule::parse(written) {
                Some(rule) => models.push(rule),
                None => return wrong("models", &format!("\"{written}\" is not a model's name")),
            }
        }
        if !self.servers.iter().all(|name| is_server_name(name)) {
            return wrong("servers", "must be names or labels of servers");
        }
        let mut by_model = BTreeMap::new();
        for (written, speed) in &self.model_limits {
            let Ok(model) = ModelName::parse_any(written) else {
                return wrong(
                    "model_limits",
                    &format!("\"{written}\" is not a model's name"),
                );
            };
            for amount in [speed.rpm, speed.tpm, speed.parallel] {
                check("model_limits", amount)?;
            }
            let limits = Limits {
                rpm: speed.rpm,
                tpm: speed.tpm,
                parallel: speed.parallel,
            };
            if limits != Limits::default() {
                by_model.insert(model.to_string(), limits);
            }
        }
        Ok(Account {
            kind,
            id: id.into(),
            name: self.name,
            user: self.user,
            team: self.team,
            org: self.org,
            budget: self.budget,
            allowance: Allowance {
                budget: Budget {
                    limit: self.limit_nano_usd,
                    soft: self.soft_limit_nano_usd,
                    period,
                },
                limits: Limits {
                    rpm: self.rpm,
                    tpm: self.tpm,
                    parallel: self.parallel,
                },
                by_model,
            },
            models,
            servers: self.servers.into(),
            manage: self.manage,
            metadata,
            blocked: self.blocked,
            understood: true,
            expires_at: self.expires_at,
            created_at,
        })
    }
}

/// As a configuration may have them.
fn is_server_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn check(key: &str, amount: Option<i64>) -> Result<(), Problem> {
    match amount {
        Some(amount) if !(0..=MOST_NANO_USD).contains(&amount) => Err(Problem::wrong(format!(
            "{key}: must be between 0 and {MOST_NANO_USD}"
        ))),
        _ => Ok(()),
    }
}

impl Shown {
    pub(super) fn new(account: &Account, version: i64) -> Self {
        Self {
            kind: account.kind.as_str(),
            id: account.id.to_string(),
            draft: Draft::of(account),
            created_at: account.created_at,
            version,
            understood: account.understood,
            period_start: None,
            spent_nano_usd: None,
            key: None,
        }
    }

    pub(super) fn with_key(self, key: String) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    pub(super) fn with_spent(self, period_start: i64, spent: i64) -> Self {
        Self {
            period_start: Some(period_start),
            spent_nano_usd: Some(spent),
            ..self
        }
    }
}

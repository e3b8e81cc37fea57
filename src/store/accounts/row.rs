//! An account as a row, and back.
//!
//! Who it is and what people look for stand in columns; the rest of what it may is JSON in `rules`. A
//! row that says something this version does not understand (written by an operator in SQL, by a newer version) is
//! an account that says so: whoever it limits is not to go without limits, and what it says is not to
//! be written over.

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::schema::accounts;
use super::{AccountChange, Stored};
use crate::domain::{Account, AccountKind, Allowance, Budget, Limits, ModelRule, Period};
use crate::store::dialect::Value;

#[derive(Queryable, Selectable)]
#[diesel(table_name = accounts)]
pub(super) struct AccountRow {
    kind: String,
    id: String,
    name: String,
    user_id: String,
    team_id: String,
    org_id: String,
    budget_id: String,
    limit_nano_usd: Option<i64>,
    period: String,
    rules: String,
    metadata: String,
    blocked: i64,
    expires_at: Option<i64>,
    created_at: i64,
    deleted_at: Option<i64>,
    version: i64,
}

/// What stands in `rules`; what is not said is left out.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Rules {
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_limit_nano_usd: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    model_limits: BTreeMap<String, Speed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    manage: bool,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Speed {
    #[serde(skip_serializing_if = "Option::is_none")]
    rpm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel: Option<i64>,
}

/// Columns whose text is not the account's own.
pub(super) struct Texts {
    period: String,
    rules: String,
}

impl AccountRow {
    pub(super) fn change(self) -> Option<AccountChange> {
        let Some(kind) = AccountKind::parse(&self.kind) else {
            tracing::warn!(kind = self.kind, id = self.id, "account of an unknown kind");
            return None;
        };
        Some(match self.deleted_at {
            Some(_) => AccountChange::Gone(kind, self.id),
            None => AccountChange::Put(Box::new(self.account(kind))),
        })
    }

    pub(super) fn stored(self) -> Option<Stored> {
        let (kind, version) = (AccountKind::parse(&self.kind)?, self.version);
        let account = self.account(kind);
        Some(Stored { account, version })
    }

    fn account(self, kind: AccountKind) -> Account {
        let (period, rules) = (Period::parse(&self.period), Rules::read(&self.rules));
        let understood = period.is_some() && rules.is_some();
        if !understood {
            tracing::warn!(
                kind = self.kind,
                id = self.id,
                "account is not understood and lets nobody in"
            );
        }
        let (rules, models) = rules.unwrap_or_default();
        Account {
            kind,
            id: self.id.into(),
            name: self.name,
            user: self.user_id,
            team: self.team_id,
            org: self.org_id,
            budget: self.budget_id,
            allowance: Allowance {
                budget: Budget {
                    limit: self.limit_nano_usd,
                    soft: rules.soft_limit_nano_usd,
                    period: period.unwrap_or_default(),
                },
                limits: Limits {
                    rpm: rules.rpm,
                    tpm: rules.tpm,
                    parallel: rules.parallel,
                },
                by_model: rules
                    .model_limits
                    .into_iter()
                    .map(|(model, speed)| (model, speed.into()))
                    .collect(),
            },
            models,
            servers: rules.servers.into(),
            manage: rules.manage,
            metadata: self.metadata,
            blocked: self.blocked != 0,
            understood,
            expires_at: self.expires_at,
            created_at: self.created_at,
        }
    }
}

impl Rules {
    fn read(json: &str) -> Option<(Self, Vec<ModelRule>)> {
        let rules: Self = serde_json::from_str(json).ok()?;
        let models = rules.models.iter().map(|rule| ModelRule::parse(rule));
        let models = models.collect::<Option<_>>()?;
        Some((rules, models))
    }
}

impl From<Speed> for Limits {
    fn from(speed: Speed) -> Self {
        Self {
            rpm: speed.rpm,
            tpm: speed.tpm,
            parallel: speed.parallel,
        }
    }
}

impl From<Limits> for Speed {
    fn from(limits: Limits) -> Self {
        Self {
            rpm: limits.rpm,
            tpm: limits.tpm,
            parallel: limits.parallel,
        }
    }
}

impl Texts {
    pub(super) fn of(account: &Account) -> Self {
        let allowance = &account.allowance;
        let rules = Rules {
            soft_limit_nano_usd: allowance.budget.soft,
            rpm: allowance.limits.rpm,
            tpm: allowance.limits.tpm,
            parallel: allowance.limits.parallel,
            model_limits: allowance
                .by_model
                .iter()
                .map(|(model, limits)| (model.clone(), (*limits).into()))
                .collect(),
            models: account.models.iter().map(ToString::to_string).collect(),
            servers: account.servers.to_vec(),
            manage: account.manage,
        };
        Self {
            period: allowance.budget.period.to_string(),
            // Maps and lists of text and numbers can always be written.
            rules: serde_json::to_string(&rules).unwrap_or_default(),
        }
    }
}

/// Every column this version knows and its value; `None` is NULL.
pub(super) fn columns<'a>(
    account: &'a Account,
    texts: &'a Texts,
    version: i64,
) -> Vec<(&'static str, Option<Value<'a>>)> {
    let text = |text: &'a str| Some(Value::Text(text));
    let number = |number: i64| Some(Value::Number(number));
    let maybe = |number: Option<i64>| number.map(Value::Number);
    vec![
        ("kind", text(account.kind.as_str())),
        ("id", text(&account.id)),
        ("name", text(&account.name)),
        ("user_id", text(&account.user)),
        ("team_id", text(&account.team)),
        ("org_id", text(&account.org)),
        ("budget_id", text(&account.budget)),
        ("limit_nano_usd", maybe(account.allowance.budget.limit)),
        ("period", text(&texts.period)),
        ("rules", text(&texts.rules)),
        ("metadata", text(&account.metadata)),
        ("blocked", number(i64::from(account.blocked))),
        ("expires_at", maybe(account.expires_at)),
        ("created_at", number(account.created_at)),
        ("deleted_at", None),
        ("version", number(version)),
    ]
}

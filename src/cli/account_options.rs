//! Settings of an account on the command line, as the admin calls take them.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use crate::clock;
use crate::domain::{ModelName, parse_usd};

/// Settings of an account. A limit of `none` is removed.
#[derive(Args, Debug, Default)]
pub(super) struct AccountOptions {
    /// For people
    #[arg(long)]
    name: Option<String>,
    /// The user it belongs to
    #[arg(long)]
    user: Option<String>,
    /// The team it belongs to
    #[arg(long)]
    team: Option<String>,
    /// The organisation it belongs to
    #[arg(long)]
    org: Option<String>,
    /// The budget that gives what is not given here
    #[arg(long)]
    budget: Option<String>,
    /// The most it may spend in a period, in US dollars
    #[arg(long, value_name = "USD", value_parser = usd)]
    limit: Option<Amount>,
    /// From this spending on a warning is logged, in US dollars
    #[arg(long, value_name = "USD", value_parser = usd)]
    soft_limit: Option<Amount>,
    /// When the budget begins anew: none, month, 12h, 1d, 30d
    #[arg(long)]
    period: Option<String>,
    /// Requests per minute
    #[arg(long, value_name = "N", value_parser = whole)]
    rpm: Option<Amount>,
    /// Tokens per minute
    #[arg(long, value_name = "N", value_parser = whole)]
    tpm: Option<Amount>,
    /// Requests at once
    #[arg(long, value_name = "N", value_parser = whole)]
    parallel: Option<Amount>,
    /// Limits with one model, besides: `MODEL:rpm=5,tpm=1000,parallel=2`, each a number or none, or
    /// `MODEL:none` for no limits of its own; repeatable
    #[arg(long = "model-limit", value_name = "MODEL:LIMITS", value_parser = model_limit)]
    model_limits: Vec<ModelLimit>,
    /// A model it may use, a beginning with `*`, or `all`; repeatable
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// A server its requests may go to, by name or label, or `all`; repeatable
    #[arg(long = "server", value_name = "SERVER")]
    servers: Vec<String>,
    /// Whether the key may pull, push, create, copy and delete models
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    manage: Option<bool>,
    /// Your own metadata: a JSON object
    #[arg(long, value_name = "JSON", value_parser = object)]
    metadata: Option<Map<String, Value>>,
    /// How long the key is valid
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
}

/// A number, or none.
#[derive(Clone, Copy, Debug)]
struct Amount(Option<i64>);

/// A model and its limits.
#[derive(Clone, Debug)]
struct ModelLimit {
    model: String,
    limits: Value,
}

impl AccountOptions {
    /// The body of the admin calls: only what was given.
    pub(super) fn object(self) -> Map<String, Value> {
        let mut object = Map::new();
        let texts = [
            ("name", self.name),
            ("user", self.user),
            ("team", self.team),
            ("org", self.org),
            ("budget", self.budget),
            ("period", self.period),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                object.insert(key.to_owned(), text.into());
            }
        }
        let amounts = [
            ("limit_nano_usd", self.limit),
            ("soft_limit_nano_usd", self.soft_limit),
            ("rpm", self.rpm),
            ("tpm", self.tpm),
            ("parallel", self.parallel),
        ];
        for (key, amount) in amounts {
            if let Some(Amount(amount)) = amount {
                object.insert(key.to_owned(), amount.into());
            }
        }
        if !self.model_limits.is_empty() {
            let each = self.model_limits.into_iter();
            let limits: Map<_, _> = each.map(|each| (each.model, each.limits)).collect();
            object.insert("model_limits".to_owned(), limits.into());
        }
        if !self.models.is_empty() {
            let all = self.models.iter().any(|model| model == "all");
            let models = if all { Vec::new() } else { self.models };
            object.insert("models".to_owned(), models.into());
        }
        if !self.servers.is_empty() {
            let all = self.servers.iter().any(|server| server == "all");
            let servers = if all { Vec::new() } else { self.servers };
            object.insert("servers".to_owned(), servers.into());
        }
        if let Some(manage) = self.manage {
            object.insert("manage".to_owned(), manage.into());
        }
        if let Some(metadata) = self.metadata {
            object.insert("metadata".to_owned(), Value::Object(metadata));
        }
        if let Some(lifetime) = self.expires_in {
            let end = clock::since_epoch() + lifetime;
            object.insert("expires_at".to_owned(), end.as_secs().into());
        }
        object
    }
}

fn usd(written: &str) -> Result<Amount, String> {
    if written == "none" {
        return Ok(Amount(None));
    }
    let wrong =
        || "must be none or dollars such as 5 or 0.25, with at most nine decimals".to_owned();
    parse_usd(written)
        .map(|nano| Amount(Some(nano)))
        .ok_or_else(wrong)
}

fn whole(written: &str) -> Result<Amount, String> {
    if written == "none" {
        return Ok(Amount(None));
    }
    match written.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(Amount(Some(number))),
        _ => Err("must be none or a whole number from 0".to_owned()),
    }
}

/// Models have colons in their names, and limits have none.
fn model_limit(written: &str) -> Result<ModelLimit, String> {
    let form = || {
        "must be MODEL:LIMITS such as llama3.2:rpm=5,tpm=1000,parallel=2 or llama3.2:none"
            .to_owned()
    };
    let (model, limits) = written.rsplit_once(':').ok_or_else(form)?;
    let model =
        ModelName::parse_any(model).map_err(|_| format!("\"{model}\" is not a model's name"))?;
    let model = model.to_string();
    if limits == "none" {
        return Ok(ModelLimit {
            model,
            limits: Value::Null,
        });
    }
    let mut said = Map::new();
    for limit in limits.split(',') {
        let (name, amount) = limit.split_once('=').ok_or_else(form)?;
        if !["rpm", "tpm", "parallel"].contains(&name) || said.contains_key(name) {
            return Err(form());
        }
        let Amount(amount) = whole(amount)?;
        said.insert(name.to_owned(), amount.into());
    }
    Ok(ModelLimit {
        model,
        limits: said.into(),
    })
}

fn object(written: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(written).map_err(|error| format!("must be a JSON object: {error}"))
}

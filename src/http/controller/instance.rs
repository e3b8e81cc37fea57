//! An instance, as DB-GPT's workers and commands write and read one.
//!
//! Its command fails as a whole over one key too many and over a name without exactly one `@`: what is
//! listed has these ten keys, and what is registered such a name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::reply::{Problem, unprocessable};
use super::{pairs, port};
use crate::registrar::View;
use crate::store::{
    InstanceKind, InstanceRow, MAX_INSTANCE_FACTS, MAX_INSTANCE_HOST, MAX_INSTANCE_NAME,
};

/// Behind the name of an agent, as a worker has its type.
pub(super) const AGENT_SUFFIX: &str = "@herdsman";

/// What a body says. What it says besides is not read.
#[derive(Deserialize)]
pub(super) struct Said {
    pub(super) model_name: String,
    pub(super) host: String,
    pub(super) port: u16,
    #[serde(default)]
    weight: Option<f64>,
    #[serde(default = "yes")]
    check_healthy: bool,
    #[serde(default)]
    prompt_template: Option<String>,
    /// Of herdsman's agents.
    #[serde(default)]
    pub(super) agent: Option<Agent>,
}

/// What is kept of a worker beside its address.
#[derive(Deserialize, Serialize)]
struct Kept {
    weight: f64,
    check_healthy: bool,
    prompt_template: Option<String>,
}

/// What a list is to have.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    model_name: Option<String>,
    healthy_only: bool,
}

/// Which worker leaves.
#[derive(Debug, PartialEq)]
pub(super) struct Left {
    pub(super) model_name: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// It is not to be shown any more either.
    pub(super) remove: bool,
}

/// One of a list.
#[derive(Serialize)]
pub(super) struct Shown {
    model_name: String,
    host: String,
    port: u16,
    weight: f64,
    check_healthy: bool,
    healthy: bool,
    enabled: bool,
    prompt_template: Option<String>,
    last_heartbeat: Option<String>,
    remove_from_registry: bool,
}

fn yes() -> bool {
    true
}

impl Said {
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let said: Self = serde_json::from_slice(body)
            .map_err(|error| unprocessable(&["body"], &error.to_string()))?;
        let wrong = |what: &str, why: &str| unprocessable(&["body", what], why);
        check(&said.model_name, &said.host).map_err(|(what, why)| wrong(what, why))?;
        if said.port == 0 {
            return Err(wrong("port", "port must be a number up to 65535"));
        }
        if said.facts().len() > MAX_INSTANCE_FACTS {
            return Err(wrong("prompt_template", "prompt_template is too long"));
        }
        Ok(said)
    }

    /// What is kept of it.
    pub(super) fn facts(&self) -> String {
        let kept = Kept {
            weight: self
                .weight
                .filter(|weight| weight.is_finite())
                .unwrap_or(1.0),
            check_healthy: self.check_healthy,
            prompt_template: self.prompt_template.clone(),
        };
        serde_json::to_string(&kept).unwrap_or_default()
    }
}

fn check(name: &str, host: &str) -> Result<(), (&'static str, &'static str)> {
    let parts: Vec<&str> = name.split('@').collect();
    let is_named = parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
    if !is_named || name.chars().count() > MAX_INSTANCE_NAME || name.contains(char::is_control) {
        let why = "model_name must be NAME@TYPE, at most 128 characters";
        return Err(("model_name", why));
    }
    let is_host = host.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_empty() || !is_host || host.len() > MAX_INSTANCE_HOST {
        return Err(("host", "host must be a name or an address"));
    }
    Ok(())
}

impl Asked {
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in pairs(query) {
            match &*name {
                "model_name" if !value.is_empty() => asked.model_name = Some(value),
                "healthy_only" => asked.healthy_only = truth(&name, &value)?,
                _ => {}
            }
        }
        Ok(asked)
    }
}

impl Left {
    /// The client sends every field, and what it does not know as nothing.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let (mut model_name, mut host, mut at, mut remove) = (None, None, None, false);
        for (name, value) in pairs(query) {
            match &*name {
                "model_name" => model_name = Some(value),
                "host" => host = Some(value),
                "port" => at = Some(port(&value)?),
                "remove_from_registry" => remove = truth(&name, &value)?,
                _ => {}
            }
        }
        let missing = |what| unprocessable(&["query", what], "Field required");
        let model_name = model_name.ok_or_else(|| missing("model_name"))?;
        let host = host.ok_or_else(|| missing("host"))?;
        check(&model_name, &host).map_err(|(what, why)| unprocessable(&["query", what], why))?;
        Ok(Self {
            model_name,
            host,
            port: at.ok_or_else(|| missing("port"))?,
            remove,
        })
    }
}

fn truth(name: &str, value: &str) -> Result<bool, Problem> {
    match &*value.to_ascii_lowercase() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(unprocessable(&["query", name], "must be true or false")),
    }
}

/// Workers and agents, as last read.
pub(super) fn listed(view: &View, asked: &Asked) -> Vec<Shown> {
    let rows = view.rows.iter();
    let shown = rows.filter(|row| row.key.kind != InstanceKind::Router);
    shown
        .map(Shown::new)
        .filter(|shown| shown.healthy || !asked.healthy_only)
        .filter(|shown| {
            let named = asked.model_name.as_ref();
            named.is_none_or(|named| *named == shown.model_name)
        })
        .collect()
}

impl Shown {
    fn new(row: &InstanceRow) -> Self {
        let kept: Option<Kept> = serde_json::from_str(&row.facts).ok();
        let (model_name, host, port) = match row.key.kind {
            InstanceKind::Agent => {
                let (host, port) = super::agent::place(&row.url);
                (format!("{}{AGENT_SUFFIX}", row.key.name), host, port)
            }
            _ => (row.key.name.clone(), row.key.host.clone(), row.key.port),
        };
        Self {
            model_name,
            host,
            port,
            weight: kept.as_ref().map_or(1.0, |kept| kept.weight),
            check_healthy: kept.as_ref().is_none_or(|kept| kept.check_healthy),
            healthy: row.is_alive(),
            enabled: true,
            prompt_template: kept.and_then(|kept| kept.prompt_template),
            last_heartbeat: written(row.seen_at),
            remove_from_registry: false,
        }
    }
}

/// A time without a zone, as they write one; it is UTC.
fn written(seen_at: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(seen_at).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_sends_is_read_and_anything_that_would_break_a_list_is_not() {
        let sent = br#"{"model_name":"llama3.2@llm","host":"127.0.0.1","port":25411,"weight":1.0,"check_healthy":true,"healthy":false,"enabled":true,"prompt_template":null,"last_heartbeat":null,"remove_from_registry":false}"#;
        let said = Said::read(sent).map_err(|_| "refused").unwrap();
        assert_eq!(
            said.facts(),
            r#"{"weight":1.0,"check_healthy":true,"prompt_template":null}"#
        );
        for bad in [
            r#"[]"#,
            r#"{"model_name":"a@llm","host":"h"}"#,
            r#"{"model_name":"a","host":"h","port":1}"#,
            r#"{"model_name":"a@b@c","host":"h","port":1}"#,
            r#"{"model_name":"@llm","host":"h","port":1}"#,
            r#"{"model_name":"a@llm","host":"","port":1}"#,
            r#"{"model_name":"a@llm","host":"h h","port":1}"#,
            r#"{"model_name":"a@llm","host":"h","port":0}"#,
            r#"{"model_name":"a@llm","host":"h","port":65536}"#,
            r#"{"model_name":"a\u0000@llm","host":"h","port":1}"#,
        ] {
            let refused = Said::read(bad.as_bytes())
                .err()
                .map(|problem| problem.status);
            assert_eq!(refused.map(|status| status.as_u16()), Some(422), "{bad}");
        }
        let long = format!(
            r#"{{"model_name":"{}@llm","host":"h","port":1}}"#,
            "a".repeat(200)
        );
        assert!(Said::read(long.as_bytes()).is_err());
    }

    #[test]
    fn a_worker_that_leaves_sends_every_field_and_nothing_for_what_it_does_not_know() {
        let query = "model_name=llama3.2%40llm&host=127.0.0.1&port=25411&weight=1.0&check_healthy=true\
                     &healthy=false&enabled=true&prompt_template=&last_heartbeat=&remove_from_registry=";
        let left = Left::read(query).map_err(|_| "refused").unwrap();
        let expected = Left {
            model_name: "llama3.2@llm".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 25411,
            remove: false,
        };
        assert_eq!(left, expected);
        let removed = query.replace("registry=", "registry=true");
        assert!(Left::read(&removed).is_ok_and(|left| left.remove));
        assert!(Left::read("model_name=a%40llm&host=h").is_err());
        assert!(Left::read("model_name=%00%40llm&host=h&port=1").is_err());
        assert!(Left::read("model_name=a&host=h&port=1").is_err());
        assert!(Asked::read("healthy_only=perhaps").is_err());
    }

    #[test]
    fn a_time_is_written_as_they_write_it() {
        assert_eq!(written(1_500).unwrap(), "1970-01-01T00:00:01.500000");
    }
}

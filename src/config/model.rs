//! `[[model]]`: what holds for one model on all servers.

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

use super::text;
use crate::domain::{KeepAlive, ModelName};

/// One model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Model {
    /// Any spelling of its name.
    #[serde(deserialize_with = "name", serialize_with = "name_as_text")]
    pub name: ModelName,
    /// Kept loaded on so many servers.
    #[serde(default)]
    pub replicas: u32,
    /// The servers that serve it, by name or label; empty for all that have it.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// For how long servers keep it, in place of what clients ask.
    #[serde(
        default,
        deserialize_with = "keep_alive",
        serialize_with = "keep_alive_as_text"
    )]
    pub keep_alive: Option<KeepAlive>,
    /// Its tokens of context, in place of what clients ask; 0 as they ask.
    #[serde(default)]
    pub num_ctx: u32,
    /// Where two models that are kept loaded do not fit, the one with the lower number stays.
    #[serde(default)]
    pub priority: i32,
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelName, D::Error> {
    text::parsed(deserializer, "a model's name", |written| {
        ModelName::parse_any(written).map_err(|_| format!("\"{written}\" is not a model's name"))
    })
}

fn name_as_text<S: Serializer>(name: &ModelName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn keep_alive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeepAlive>, D::Error> {
    let expected = "text such as \"30m\", \"24h\" or \"-1\", which is for ever";
    text::parsed(deserializer, expected, |written| match written {
        "" => Ok(None),
        _ => KeepAlive::parse(written).map(Some).map_err(|_| {
            format!(
                "\"{written}\" keeps nothing: a duration such as \"30m\", at least a second, or \
                 \"-1\", which is for ever"
            )
        }),
    })
}

fn keep_alive_as_text<S: Serializer>(
    keep_alive: &Option<KeepAlive>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match keep_alive {
        Some(keep_alive) => serializer.collect_str(keep_alive),
        None => serializer.serialize_str(""),
    }
}

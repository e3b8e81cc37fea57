//! `[models]`: which servers have which models.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::validate::Faults;
use super::{Config, EndpointUrl, size};

/// Models over all servers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Models {
    /// Which servers get a model that is pulled or created.
    pub pull: Pull,
    /// Each model is fetched once, and servers get it from this router.
    pub mirror: bool,
    /// The registry that it is fetched from.
    pub registry: String,
    /// What the files of the mirror may take together, in bytes.
    #[serde(with = "size")]
    pub cache_size: u64,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            pull: Pull::default(),
            mirror: false,
            registry: "https://registry.ollama.ai".to_owned(),
            cache_size: 100 << 30,
        }
    }
}

/// Ollama takes a blob only from another host name than the one it has asked for the model.
pub(super) fn check_mirror(config: &Config, faults: &mut Faults) {
    let models = &config.models;
    if let Err(why) = models.registry.parse::<EndpointUrl>() {
        faults.add("models.registry", why.to_string());
    }
    if models.cache_size == 0 {
        faults.add("models.cache_size", "must be above zero");
    }
    let differ = match config.server.advertise.as_slice() {
        [] => !models.mirror,
        [one, other] => !one.host().eq_ignore_ascii_case(other.host()),
        _ => false,
    };
    if !differ {
        faults.add(
            "server.advertise",
            "must be two names of this router with different hosts, such as [\"router.lan:11435\", \
             \"192.168.1.4:11435\"]: with models.mirror = true servers pull models from the first, and \
             are sent to the second for their files",
        );
    }
}

/// How many servers get a model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pull {
    /// All that serve.
    #[default]
    All,
    /// So many, those with the fewest bytes of models.
    Some(NonZeroU32),
}

impl Serialize for Pull {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Some(count) => serializer.serialize_u32(count.get()),
        }
    }
}

impl<'de> Deserialize<'de> for Pull {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PullVisitor)
    }
}

struct PullVisitor;

impl Visitor<'_> for PullVisitor {
    type Value = Pull;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"all\" or how many servers, at least 1")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<Pull, E> {
        match written {
            "all" => Ok(Pull::All),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(written), &self)),
        }
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Pull, E> {
        u32::try_from(count)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Pull::Some)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(count), &self))
    }
}

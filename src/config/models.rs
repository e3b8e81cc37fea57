//! `[models]`: which servers have which models.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Models over all servers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Models {
    /// Which servers get a model that is pulled or created.
    pub pull: Pull,
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

//! How many requests a server runs at once for one model.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Ollama's `OLLAMA_NUM_PARALLEL`, which no API tells: written by the operator or estimated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slots {
    /// Estimated from what the server does. On an endpoint: what `[routing]` says.
    #[default]
    Auto,
    /// Known.
    Fixed(NonZeroU32),
}

impl Serialize for Slots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(count) => serializer.serialize_u32(count.get()),
        }
    }
}

impl<'de> Deserialize<'de> for Slots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SlotsVisitor)
    }
}

struct SlotsVisitor;

impl Visitor<'_> for SlotsVisitor {
    type Value = Slots;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a whole number from 1")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<Slots, E> {
        match written {
            "auto" => Ok(Slots::Auto),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(written), &self)),
        }
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Slots, E> {
        u32::try_from(count)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Slots::Fixed)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(count), &self))
    }
}

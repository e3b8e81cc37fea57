//! How many requests a server runs at once for one model.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Ollama's `OLLAMA_NUM_PARALLEL`, which no API tells: written by the operator or assumed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slots {
    /// On an endpoint: what `[routing]` says. There: [`Slots::ASSUMED`].
    #[default]
    Auto,
    /// Known.
    Fixed(NonZeroU32),
}

impl Slots {
    /// What `auto` means until it can be measured: Ollama's own default of older releases.
    pub const ASSUMED: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");

    /// The number of slots of an endpoint that says this, where `[routing]` says `general`.
    #[must_use]
    pub fn or(self, general: Self) -> NonZeroU32 {
        match (self, general) {
            (Self::Fixed(count), _) | (Self::Auto, Self::Fixed(count)) => count,
            (Self::Auto, Self::Auto) => Self::ASSUMED,
        }
    }
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

    fn visit_u64<E: Error>(self, count: u64) -> Result<Slots, E> {
        match i64::try_from(count) {
            Ok(count) => self.visit_i64(count),
            Err(_) => Err(E::invalid_value(
                serde::de::Unexpected::Unsigned(count),
                &self,
            )),
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

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn an_endpoint_goes_before_the_table_and_the_table_before_what_is_assumed() {
        let fixed = |count: u32| Slots::Fixed(count.try_into().unwrap());
        assert_eq!(fixed(2).or(fixed(3)).get(), 2);
        assert_eq!(Slots::Auto.or(fixed(3)).get(), 3);
        assert_eq!(Slots::Auto.or(Slots::Auto), Slots::ASSUMED);
    }
}

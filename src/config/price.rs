//! `[[price]]`: what tokens cost.
//!
//! Operators write USD per million tokens as everyone publishes them; money is an integer count of
//! nano-USD from here on, so that a sum never depends on the order of its parts. This is the only
//! place where money is ever a float, because it is one in TOML.

use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::text;
use crate::domain::{self, ModelName, Rate};

const NANO_PER_USD: f64 = 1e9;

/// A dollar for each single token: no price is near it, and every sum below it is exact.
const HIGHEST_USD: f64 = 1e6;

/// One model's price.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Price {
    /// Any spelling of the model's name.
    #[serde(deserialize_with = "model", serialize_with = "as_text")]
    pub model: ModelName,
    /// For tokens read.
    #[serde(default)]
    pub input: Rate,
    /// For tokens read that the server still had in its cache; without it they cost what others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Rate>,
    /// For tokens written.
    #[serde(default)]
    pub output: Rate,
}

impl Price {
    /// What a request is charged by.
    #[must_use]
    pub fn rates(&self) -> domain::Price {
        domain::Price {
            input: self.input,
            cached_input: self.cached_input.unwrap_or(self.input),
            output: self.output,
        }
    }
}

/// The nearest exact rate; `None` for what is negative, not a number or above a dollar a token.
fn from_usd_per_million(usd: f64) -> Option<Rate> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked and the value rounded"
    )]
    (0.0..=HIGHEST_USD)
        .contains(&usd)
        .then(|| (usd * NANO_PER_USD).round() as u64)
        .and_then(Rate::from_nano_usd_per_million)
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "at most 1e15, which an f64 holds exactly"
        )]
        serializer.serialize_f64(self.nano_usd_per_million() as f64 / NANO_PER_USD)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("USD per million tokens, between 0 and 1000000")
    }

    fn visit_f64<E: serde::de::Error>(self, usd: f64) -> Result<Rate, E> {
        from_usd_per_million(usd)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Float(usd), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, usd: i64) -> Result<Rate, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "what an f64 cannot hold is far out of range"
        )]
        self.visit_f64(usd as f64)
    }
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelName, D::Error> {
    text::parsed(deserializer, "a model's name", |written| {
        ModelName::parse_any(written).map_err(|_| format!("\"{written}\" is not a model's name"))
    })
}

fn as_text<S: Serializer>(model: &ModelName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(model.as_str())
}

#[cfg(test)]
mod tests {
    use super::{Rate, from_usd_per_million};

    #[test]
    fn published_prices_are_exact_in_nano_usd() {
        for (usd, nano) in [(0.05, 50_000_000), (0.2, 200_000_000), (1e-9, 1), (0.0, 0)] {
            assert_eq!(
                from_usd_per_million(usd).map(Rate::nano_usd_per_million),
                Some(nano)
            );
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for usd in [-0.01, f64::NAN, f64::INFINITY, 1e6 + 1.0] {
            assert_eq!(from_usd_per_million(usd), None);
        }
    }
}

//! What several numbers add up to, however large. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Sums of anything.
#[derive(Clone, Copy, Debug, Default, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct Sums {
    /// Money.
    pub spend_nano_usd: i128,
    /// Tokens read.
    pub input_tokens: i128,
    /// Tokens written.
    pub output_tokens: i128,
    /// Answered requests.
    pub requests: i128,
}

impl From<[i128; 4]> for Sums {
    fn from([money, input, output, requests]: [i128; 4]) -> Self {
        Self {
            spend_nano_usd: money,
            input_tokens: input,
            output_tokens: output,
            requests,
        }
    }
}

impl std::ops::Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            spend_nano_usd: self.spend_nano_usd + other.spend_nano_usd,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            requests: self.requests + other.requests,
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spend_nano_usd,
            input_tokens,
            output_tokens,
            requests,
        } = self;
        write!(
            f,
            "{spend_nano_usd} nano-USD, {input_tokens} + {output_tokens} tokens, {requests} requests"
        )
    }
}

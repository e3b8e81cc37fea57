//! What tokens cost, in integers.
//!
//! A price is nano-USD per million tokens, as exact as anyone publishes one. The cost of a request
//! is one division at its very end: the three products are summed first, in 128 bits, and the sum
//! is rounded half up to whole nano-USD. So the error of a request is at most half a nano-USD, no
//! matter how its tokens are split, and no sum of requests depends on their order.

/// Money of any one account or request stays below this, about nine million dollars: what a double
/// holds exactly, because the rule that shares budgets between routers runs where there is nothing
/// but doubles.
pub const MOST_NANO_USD: i64 = (1 << 53) - 1;

/// A dollar for each single token: no price is near it, and every sum below it is exact.
const HIGHEST_RATE: u64 = 1_000_000 * NANO_PER_USD;
const NANO_PER_USD: u64 = 1_000_000_000;
const PER_MILLION: u128 = 1_000_000;

/// A price per token, exact to the nano-USD per million tokens.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rate(u64);

/// One model's price at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Price {
    /// For tokens read that the server had to compute.
    pub input: Rate,
    /// For tokens read that the server still had in its cache.
    pub cached_input: Rate,
    /// For tokens written.
    pub output: Rate,
}

impl Rate {
    /// `None` above a dollar a token.
    #[must_use]
    pub fn from_nano_usd_per_million(nano: u64) -> Option<Self> {
        (nano <= HIGHEST_RATE).then_some(Self(nano))
    }

    /// Nano-USD for a million tokens.
    #[must_use]
    pub const fn nano_usd_per_million(self) -> u64 {
        self.0
    }

    fn of(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

impl Price {
    /// What a request costs, in nano-USD. `cached` counts those of the `input` tokens that came from
    /// the server's cache.
    #[must_use]
    pub fn cost(&self, input: u64, cached: u64, output: u64) -> i64 {
        let cached = cached.min(input);
        let sum =
            self.input.of(input - cached) + self.cached_input.of(cached) + self.output.of(output);
        let nano = (sum + PER_MILLION / 2) / PER_MILLION;
        i64::try_from(nano).map_or(MOST_NANO_USD, |nano| nano.min(MOST_NANO_USD))
    }
}

/// Reads US dollars as people write them (`12`, `0.05`) into nano-USD, exactly: what a nano-USD
/// cannot hold is refused, and so is what [`MOST_NANO_USD`] is too small for.
#[must_use]
pub fn parse_usd(written: &str) -> Option<i64> {
    let (whole, part) = written.split_once('.').unwrap_or((written, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let nano: i64 = format!("{part:0<9}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    let sum = whole.checked_mul(1_000_000_000)?.checked_add(nano)?;
    (sum <= MOST_NANO_USD).then_some(sum)
}

/// Nano-USD as dollars for people, without a digit too many: `0.05`, `12`.
#[must_use]
pub fn format_usd(nano: i64) -> String {
    let (sign, nano) = (if nano < 0 { "-" } else { "" }, nano.unsigned_abs());
    let (whole, part) = (nano / NANO_PER_USD, nano % NANO_PER_USD);
    let part = format!("{part:09}");
    match part.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(input: u64, cached: u64, output: u64) -> Price {
        let rate = |nano| Rate::from_nano_usd_per_million(nano).unwrap();
        Price {
            input: rate(input),
            cached_input: rate(cached),
            output: rate(output),
        }
    }

    #[test]
    fn half_a_nano_usd_is_rounded_up_once_for_the_whole_request() {
        // A nano-USD per two tokens: three tokens cost one and a half.
        let price = price(500_000, 0, 500_000);
        assert_eq!(price.cost(1, 0, 0), 1);
        assert_eq!(price.cost(2, 0, 0), 1);
        assert_eq!(price.cost(3, 0, 0), 2);
        assert_eq!(price.cost(1, 0, 1), 1, "rounded after the sum, not before");
        assert_eq!(price.cost(0, 0, 0), 0);
    }

    #[test]
    fn cached_tokens_have_their_own_price_and_are_never_more_than_were_read() {
        let price = price(50_000_000, 5_000_000, 200_000_000);
        assert_eq!(price.cost(1000, 0, 100), 50_000 + 20_000);
        assert_eq!(price.cost(1000, 800, 100), 10_000 + 4_000 + 20_000);
        assert_eq!(price.cost(1000, 5000, 0), 5_000);
    }

    #[test]
    fn dollars_are_read_and_written_to_the_nano() {
        for (written, nano) in [
            ("0", 0),
            ("12", 12_000_000_000),
            ("0.05", 50_000_000),
            ("0.000000001", 1),
            ("9007199.254740991", MOST_NANO_USD),
        ] {
            assert_eq!(parse_usd(written), Some(nano), "{written}");
            assert_eq!(format_usd(nano), written);
        }
        for wrong in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "0.0000000001",
            "9007199.254740992",
            "1,5",
        ] {
            assert_eq!(parse_usd(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_cost_is_never_more_than_half_a_nano_usd_wrong(
            rates in prop::array::uniform3(0..=HIGHEST_RATE),
            input in 0..100_000_u64, cached in 0..100_000_u64, output in 0..100_000_u64,
        ) {
            let price = price(rates[0], rates[1], rates[2]);
            let cached = cached.min(input);
            let exact = u128::from(input - cached) * u128::from(rates[0])
                + u128::from(cached) * u128::from(rates[1])
                + u128::from(output) * u128::from(rates[2]);
            let cost = u128::from(price.cost(input, cached, output).unsigned_abs());
            if cost < u128::from(MOST_NANO_USD.unsigned_abs()) {
                prop_assert!((cost * 1_000_000).abs_diff(exact) <= 500_000);
            }
        }
    }
}

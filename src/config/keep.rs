//! How long something is kept, as text: `"90d"`, `"5y"`; `""` is for ever.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use super::text;

/// Of a calendar: so that a moment so long ago is one, too.
const LONGEST: Duration = Duration::from_secs(1_000 * 366 * 24 * 60 * 60);

const EXPECTED: &str = "a duration such as \"90d\", \"26w\" or \"5y\", or \"\" for ever";

/// The longest first; a year is 365.25 days.
const UNITS: [(u64, &str); 2] = [(31_557_600, "y"), (24 * 60 * 60, "d")];

fn parse(written: &str) -> Result<Option<Duration>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    let duration = humantime::parse_duration(written)
        .map_err(|_| format!("\"{written}\" is not {EXPECTED}"))?;
    if duration > LONGEST {
        return Err(format!(
            "\"{written}\" is longer than a thousand years; \"\" is for ever"
        ));
    }
    Ok(Some(duration))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    text::parsed(d, EXPECTED, parse)
}

#[expect(clippy::ref_option, reason = "the signature that serde calls it with")]
pub(super) fn serialize<S: Serializer>(kept: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&kept.map_or_else(String::new, format))
}

/// Exact, and as people write it.
fn format(kept: Duration) -> String {
    let whole = |unit: u64| kept.subsec_nanos() == 0 && kept.as_secs().is_multiple_of(unit);
    UNITS
        .iter()
        .find(|(unit, _)| !kept.is_zero() && whole(*unit))
        .map_or_else(
            || humantime::format_duration(kept).to_string(),
            |(unit, name)| format!("{}{name}", kept.as_secs() / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_weeks_and_years_are_read_and_nothing_is_for_ever() {
        let days = |days: u64| Ok(Some(Duration::from_secs(days * 24 * 60 * 60)));
        assert_eq!(parse("90d"), days(90));
        assert_eq!(parse("26w"), days(182));
        // A year is 365.25 days.
        assert_eq!(parse("4y"), days(1_461));
        assert_eq!(parse(""), Ok(None));
        for written in ["5y", "90d", "1day 6h"] {
            assert_eq!(format(parse(written).unwrap().unwrap()), written);
        }
        for written in ["90", "for ever", "-1d", "2000y"] {
            assert!(parse(written).is_err(), "{written}");
        }
    }
}

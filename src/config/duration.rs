//! Durations as text: `"30s"`, `"200ms"`, `"1h 30m"`.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use super::text;

/// No timeout of a router is longer, and adding one to a clock can never overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const EXPECTED: &str = "a duration such as \"30s\", \"200ms\" or \"5m\"";

pub(super) fn parse(written: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(written)
        .map_err(|_| format!("\"{written}\" is not {EXPECTED}"))?;
    if duration > LONGEST {
        return Err(format!("\"{written}\" is longer than a year"));
    }
    Ok(duration)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    text::parsed(d, EXPECTED, parse)
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&humantime::format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn text_is_read_as_people_write_it() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        for written in ["30", "", "soon", "-1s", "1.5"] {
            assert!(parse(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_would_overflow_a_clock_is_refused() {
        assert!(parse("500years").is_err());
    }
}

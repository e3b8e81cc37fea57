//! Days as people write them: UTC, `YYYY-MM-DD`. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

/// A day of the calendar, as it is written; earlier ones are smaller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(String);

/// The text names no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2026-03-14")]
pub struct InvalidDay;

impl Day {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    /// Takes one of the many ways to write a day, because databases compare it as text.
    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let date: Date = text.parse().map_err(|_| InvalidDay)?;
        let written = date.to_string();
        if date.year() < 1 || written != text {
            return Err(InvalidDay);
        }
        Ok(Self(written))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_the_calendar_and_nothing_else() {
        for day in [
            "2026-03-14",
            "2024-02-29",
            "2000-02-29",
            "0001-01-01",
            "9999-12-31",
        ] {
            assert_eq!(day.parse::<Day>().unwrap().as_str(), day);
        }
        for wrong in [
            "",
            "2026-3-14",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "0000-01-01",
            "20260314",
            "2026-03-14 ",
            "2026-03-14-1",
            "+026-03-14",
            "yesterday",
        ] {
            assert_eq!(wrong.parse::<Day>(), Err(InvalidDay), "{wrong}");
        }
    }
}

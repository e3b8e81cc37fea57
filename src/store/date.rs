//! Days as people write them: UTC, `YYYY-MM-DD`. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::domain::day_of;

/// Earlier ones are not written with four digits and nothing else.
const FIRST: Date = Date::constant(1, 1, 1);

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

    /// The day in which this moment (Unix seconds) lies, between the years 1 and 9999.
    #[must_use]
    pub fn of(at: i64) -> Self {
        Self(day_of(at).max(FIRST).to_string())
    }

    /// So many days later, if there is such a day.
    #[must_use]
    pub fn later(&self, days: i32) -> Option<Self> {
        let date: Date = self.0.parse().ok()?;
        let later = date.checked_add(days.days()).ok()?;
        Some(Self(later.to_string()))
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
    fn days_are_counted_as_the_calendar_has_them() {
        let day = Day::of(951_782_400);
        assert_eq!(day.as_str(), "2000-02-29");
        assert_eq!(day.later(1).unwrap().as_str(), "2000-03-01");
        assert_eq!(Day::of(i64::MIN).as_str(), "0001-01-01");
        assert_eq!(Day::of(i64::MAX).later(1), None);
    }

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

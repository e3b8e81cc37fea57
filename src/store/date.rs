//! Days as people write them: UTC, `YYYY-MM-DD`. Pure.

use std::fmt;
use std::str::FromStr;

const SECONDS: i64 = 86_400;
/// Days in 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01. Years are counted from March, so that the leap day is the last.
const TO_EPOCH: i64 = 719_468;

/// The day of a moment in Unix seconds.
pub(super) fn of(at: i64) -> String {
    let days = at.div_euclid(SECONDS) + TO_EPOCH;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    // 1,460 days are 4 years less their leap day, 36,524 a century less its own.
    let year = (day - day / 1_460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 31, 30, 31, 30, 31 days, twice and a half: 153 in five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turned) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + turned;
    format!("{year:04}-{month:02}-{day:02}")
}

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

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else {
            return Err(InvalidDay);
        };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) || !parts.iter().all(|p| digits(p)) {
            return Err(InvalidDay);
        }
        let number = |part: &str| part.parse::<u32>().map_err(|_| InvalidDay);
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        if year == 0 || !(1..=last).contains(&day) {
            return Err(InvalidDay);
        }
        Ok(Self(text.to_owned()))
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

    #[test]
    fn days_are_those_of_the_calendar() {
        for (at, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
            (-62_135_596_800, "0001-01-01"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(of(at), day);
        }
    }

    /// Day after day for eight centuries, against a calendar that only knows how long months are.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1_600, 1, 1);
        let mut at = -11_676_096_000;
        while year < 2_400 {
            assert_eq!(of(at), format!("{year:04}-{month:02}-{day:02}"));
            at += SECONDS;
            day += 1;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if day > last {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}

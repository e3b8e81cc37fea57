//! The Gregorian calendar in UTC, for moments in Unix seconds.

use jiff::SignedDuration;
use jiff::civil::{Date, date};

/// Seconds of one; in Unix time all are equal.
const DAY: i64 = 86_400;

/// The day of second 0.
const EPOCH: Date = date(1970, 1, 1);

/// The day a moment lies in. Moments beyond the years -9999 to 9999 lie in the first or the last day.
#[must_use]
pub fn day_of(at: i64) -> Date {
    EPOCH.saturating_add(SignedDuration::from_secs(midnight(at)))
}

/// The first second of the day `at` lies in.
fn midnight(at: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(DAY))
}

/// The first second of the month `at` lies in, and of the next.
pub(super) fn month_of(at: i64) -> (i64, i64) {
    let day = day_of(at);
    let first = midnight(at).saturating_sub((i64::from(day.day()) - 1) * DAY);
    let next = first.saturating_add(i64::from(day.days_in_month()) * DAY);
    (first, next)
}

#[cfg(test)]
mod tests {
    use super::{DAY, day_of, month_of};

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
            (253_402_214_400, "9999-12-31"),
            (i64::MAX, "9999-12-31"),
            (i64::MIN, "-009999-01-01"),
        ] {
            assert_eq!(day_of(at).to_string(), day);
        }
    }

    /// Day after day for eight centuries, against a calendar that only knows how long months are.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1_600, 1, 1);
        let mut at = -11_676_096_000;
        let mut first = at;
        while year < 2_400 {
            assert_eq!(
                day_of(at).to_string(),
                format!("{year:04}-{month:02}-{day:02}")
            );
            assert_eq!(month_of(at).0, first);
            at += DAY;
            day += 1;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if day > last {
                assert_eq!(month_of(at - 1).1, at);
                first = at;
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}

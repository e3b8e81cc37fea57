//! When a budget begins anew.
//!
//! A period is computed, never stored: its beginning follows from the kind of period, the moment
//! the account was made and the moment asked about. So there is no job that resets budgets, no
//! moment at which it runs late, and a record that arrives a day late still knows its own period.
//! Everything is in Unix seconds and UTC.

use std::fmt;

use super::calendar::month_of;

const DAY: i64 = 86_400;
/// Shorter ones would restart faster than routers exchange what was spent.
const SHORTEST: i64 = 60;
const LONGEST: i64 = 366 * DAY;

/// How often a budget begins anew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub enum Period {
    /// Never: it is for the whole lifetime of its account.
    #[default]
    Never,
    /// After so many seconds, counted from the moment the account was made.
    Every(i64),
    /// With each calendar month, in UTC.
    Month,
}

impl Period {
    /// No period is longer, in seconds.
    pub const LONGEST: i64 = LONGEST;

    /// Reads `none`, `month`, or a number with a unit: `90m`, `12h`, `1d`, `4w`. Between a minute
    /// and a year.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        match written {
            "" | "none" => return Some(Self::Never),
            "month" | "1mo" => return Some(Self::Month),
            _ => {}
        }
        let unit = written.bytes().last()?;
        let seconds = match unit {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => DAY,
            b'w' => 7 * DAY,
            _ => return None,
        };
        let number = &written[..written.len() - 1];
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let every = number.parse::<i64>().ok()?.checked_mul(seconds)?;
        (SHORTEST..=LONGEST)
            .contains(&every)
            .then_some(Self::Every(every))
    }

    /// When the period began that `now` lies in; 0 where there are none. The first one begins with
    /// the account.
    #[must_use]
    pub fn start(self, created: i64, now: i64) -> i64 {
        match self {
            Self::Never => 0,
            Self::Every(every) => {
                let passed = now.saturating_sub(created).max(0);
                created + passed - passed % every.max(1)
            }
            Self::Month => month_of(now).0,
        }
    }

    /// When the period after the one that `now` lies in begins.
    #[must_use]
    pub fn next(self, created: i64, now: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Every(every) => Some(self.start(created, now).saturating_add(every)),
            Self::Month => Some(month_of(now).1),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Never => f.write_str("none"),
            Self::Month => f.write_str("month"),
            Self::Every(every) => {
                let units = [(DAY, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
                let (seconds, unit) = units
                    .into_iter()
                    .find(|(seconds, _)| every % seconds == 0)
                    .unwrap_or((1, 's'));
                write!(f, "{}{unit}", every / seconds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        for (written, period, shown) in [
            ("none", Period::Never, "none"),
            ("", Period::Never, "none"),
            ("month", Period::Month, "month"),
            ("1d", Period::Every(DAY), "1d"),
            ("24h", Period::Every(DAY), "1d"),
            ("30d", Period::Every(30 * DAY), "30d"),
            ("90m", Period::Every(5_400), "90m"),
            ("2w", Period::Every(14 * DAY), "14d"),
        ] {
            assert_eq!(Period::parse(written), Some(period), "{written}");
            assert_eq!(period.to_string(), shown);
        }
        for wrong in ["d", "1", "-1d", "1y", "59s", "367d", "1.5d", "0d", "é"] {
            assert_eq!(Period::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_counts_from_the_creation_of_the_account() {
        let daily = Period::Every(DAY);
        let created = 1_000_000;
        assert_eq!(daily.start(created, created), created);
        assert_eq!(daily.start(created, created + DAY - 1), created);
        assert_eq!(daily.start(created, created + DAY), created + DAY);
        assert_eq!(daily.next(created, created + DAY), Some(created + 2 * DAY));
        assert_eq!(
            daily.start(created, created - 5),
            created,
            "a clock that runs behind"
        );
    }

    #[test]
    fn a_month_is_the_calendars() {
        // 2024-02-29 12:00, 2023-12-31 23:59:59 and 1970-01-01, by any calendar program.
        for (now, start, next) in [
            (1_709_208_000, 1_706_745_600, 1_709_251_200),
            (1_704_067_199, 1_701_388_800, 1_704_067_200),
            (0, 0, 2_678_400),
        ] {
            assert_eq!(Period::Month.start(7, now), start);
            assert_eq!(Period::Month.next(7, now), Some(next));
        }
        assert_eq!(Period::Never.start(7, 1_709_208_000), 0);
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_period_and_the_next_one_follows_without_a_gap(
            created in 0..4_000_000_000_i64,
            later in 0..1_000_000_000_i64,
            every in SHORTEST..=LONGEST,
            monthly: bool,
        ) {
            let period = if monthly { Period::Month } else { Period::Every(every) };
            let now = created + later;
            let (start, next) = (period.start(created, now), period.next(created, now).unwrap());
            prop_assert!(start <= now && now < next);
            prop_assert_eq!(period.start(created, next), next);
            prop_assert_eq!(period.start(created, next - 1), start);
        }
    }
}

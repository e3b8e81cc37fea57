//! RFC 3339 to Unix seconds, the one thing wanted of a date.
//!
//! Ollama writes Go's times: any offset, up to nanoseconds, and years far off for a model that is
//! never to be unloaded. That is a page of arithmetic; a calendar crate would be a hundred.

/// Unix seconds of an RFC 3339 time, its fraction cut off; nothing if it is none.
#[must_use]
pub fn unix_seconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date_time, mut rest) = bytes.split_first_chunk::<19>()?;
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        mo0,
        mo1,
        b'-',
        d0,
        d1,
        b'T' | b't' | b' ',
        h0,
        h1,
        b':',
        mi0,
        mi1,
        b':',
        s0,
        s1,
    ] = *date_time
    else {
        return None;
    };
    let year = number(&[y0, y1, y2, y3])?;
    let month = within(1..=12, &[mo0, mo1])?;
    let day = within(1..=days_in(year, month), &[d0, d1])?;
    let hour = within(0..=23, &[h0, h1])?;
    let minute = within(0..=59, &[mi0, mi1])?;
    let second = within(0..=60, &[s0, s1])?; // 60: a leap second
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        rest = &fraction[digits..];
    }
    let offset = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let minutes = within(0..=23, &[h0, h1])? * 60 + within(0..=59, &[m0, m1])?;
            if sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let days = days_since_epoch(year, month, day);
    Some(((days * 24 + hour) * 60 + minute - offset) * 60 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar, by counting years from March, so that the leap
/// day is the last of its year.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn within(range: std::ops::RangeInclusive<i64>, digits: &[u8]) -> Option<i64> {
    number(digits).filter(|number| range.contains(number))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_as_ollama_writes_them_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000),
            ("2026-08-21T09:00:00.123456789Z", 1_787_302_800),
            ("2026-08-21T11:00:00.123456789+02:00", 1_787_302_800),
            ("2026-08-21T01:30:00-07:30", 1_787_302_800),
            ("2318-12-01T00:00:00Z", 11_010_643_200),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
        ] {
            assert_eq!(unix_seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-08-21",
            "2026-08-21T09:00:00",
            "2026-13-21T09:00:00Z",
            "2025-02-29T09:00:00Z",
            "2026-08-21T24:00:00Z",
            "2026-08-21T09:00:00.Z",
            "2026-08-21T09:00:00+0200",
            "2026-08-21T09:00:00Zx",
            "2026-08-2éT09:00:00Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_calendar_has_no_gaps(day in -719_162_i64..2_932_896) {
            // Found by walking, not by the formula under test.
            let (mut year, mut left) = (1970, day);
            let length = |year| if days_in(year, 2) == 29 { 366 } else { 365 };
            while left < 0 { year -= 1; left += length(year); }
            while left >= length(year) { left -= length(year); year += 1; }
            let mut month = 1;
            while left >= days_in(year, month) { left -= days_in(year, month); month += 1; }
            let text = format!("{year:04}-{month:02}-{:02}T00:00:01Z", left + 1);
            prop_assert_eq!(unix_seconds(&text), Some(day * 86_400 + 1));
        }

        #[test]
        fn no_text_breaks_it(text: String) {
            let _ = unix_seconds(&text);
        }
    }
}

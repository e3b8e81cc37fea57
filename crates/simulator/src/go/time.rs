//! `time.RFC3339Nano` in UTC: nine digits of fraction with the trailing zeros dropped, and the dot
//! with them when nothing is left.

use bytes::BufMut;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Appends the moment, without quotes. Years beyond 9999 are held at their last second, years
/// before 0 at the first: neither occurs, and a panic would be worse.
pub fn rfc3339_nano(out: &mut impl BufMut, unix_nanos: i128) {
    let seconds = unix_nanos.div_euclid(NANOS_PER_SECOND);
    let nanos = u32::try_from(unix_nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or_default();
    let seconds =
        i64::try_from(seconds.clamp(-62_167_219_200, 253_402_300_799)).unwrap_or_default();
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);

    let mut text = *b"0000-00-00T00:00:00.000000000";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], of_day / 3600);
    digits(&mut text[14..16], of_day / 60 % 60);
    digits(&mut text[17..19], of_day % 60);
    digits(&mut text[20..29], i64::from(nanos));
    let length = match text.iter().rposition(|&digit| digit != b'0') {
        Some(last) if last > 19 => last + 1,
        _ => 19,
    };
    out.put_slice(&text[..length]);
    out.put_u8(b'Z');
}

fn digits(place: &mut [u8], mut value: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

/// Days since 1970-01-01 to year, month, day in the proleptic Gregorian calendar. Counting from
/// the first of March of year 0 puts the leap day at the end of a year, so that the months have
/// a closed formula.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unix_nanos: i128) -> String {
        let mut out = Vec::new();
        rfc3339_nano(&mut out, unix_nanos);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments_read_as_go_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(
            text(1_787_302_800_123_456_789),
            "2026-08-21T09:00:00.123456789Z"
        );
        assert_eq!(text(1_709_164_800_500_000_000), "2024-02-29T00:00:00.5Z");
        assert_eq!(
            text(951_868_799_000_000_010),
            "2000-02-29T23:59:59.00000001Z"
        );
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(i128::MAX).get(..10), Some("9999-12-31"));
    }
}

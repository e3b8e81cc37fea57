//! RFC 3339 to Unix seconds, all that is needed of a date.
//!
//! Ollama writes Go's times: any offset, up to nanoseconds, and years far off for a model that is
//! never to be unloaded.

use jiff::Timestamp;

/// Unix seconds of an RFC 3339 time, its fraction cut off; nothing if it is none.
#[must_use]
pub fn unix_seconds(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_second)
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
            // A leap second, which Unix time does not have, is the second before it.
            ("2016-12-31T23:59:60Z", 1_483_228_799),
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
            "2026-08-21T09:00:00Zx",
            "2026-08-2éT09:00:00Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back(at in -62_135_596_800_i64..253_402_207_200) {
            let text = Timestamp::from_second(at).unwrap().to_string();
            prop_assert_eq!(unix_seconds(&text), Some(at));
        }

        #[test]
        fn no_text_breaks_it(text: String) {
            let _ = unix_seconds(&text);
        }
    }
}

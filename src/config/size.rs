//! Sizes as text: `"8MiB"`, `"500kB"`.

use bytesize::ByteSize;
use serde::{Deserializer, Serializer};

use super::text;

const EXPECTED: &str = "a size such as \"8MiB\" or \"500kB\"";

const UNITS: [(u64, &str); 4] = [
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
];

pub(super) fn parse(written: &str) -> Result<u64, String> {
    written
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("\"{written}\" is not {EXPECTED}"))
}

/// Exact, unlike a rounded "1.2 GiB": what `herdsman check` prints can be written back.
fn format(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, name)| format!("{}{name}", bytes / unit),
        )
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    text::parsed(d, EXPECTED, parse)
}

pub(super) fn serialize<S: Serializer>(bytes: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{format, parse};

    #[test]
    fn units_are_binary_or_decimal_as_their_names_say() {
        assert_eq!(parse("8MiB"), Ok(8 << 20));
        assert_eq!(parse("500kB"), Ok(500_000));
        assert_eq!(format(256 << 20), "256MiB");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for written in ["", "big", "-1MiB", "8 apples"] {
            assert!(parse(written).is_err(), "{written}");
        }
    }

    proptest! {
        #[test]
        fn every_size_is_read_back_as_it_was_written(bytes in 0..1u64 << 50) {
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }
    }
}

//! Which part of a blob is asked for. Pure.

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

/// The part, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Some(Range<u64>),
    /// There is no such part.
    None,
}

impl Part {
    /// What these headers ask for of so many bytes. What is not understood, or is several parts, is all of it.
    pub(super) fn of(headers: &HeaderMap, size: u64) -> Self {
        let asked = headers.get(RANGE).and_then(|range| range.to_str().ok());
        let asked = asked.and_then(|range| range.strip_prefix("bytes="));
        let Some((from, to)) = asked.and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        let (first, last) = (from.trim().parse::<u64>(), to.trim().parse::<u64>());
        let part = match (first, last, to.trim().is_empty()) {
            (Ok(first), _, true) => first..size,
            (Ok(first), Ok(last), _) if first <= last => first..last.saturating_add(1).min(size),
            (Err(_), Ok(last), _) if from.trim().is_empty() => size.saturating_sub(last)..size,
            _ => return Self::Whole,
        };
        match part.is_empty() {
            true => Self::None,
            false => Self::Some(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_downloaders_write_them() {
        let part = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RANGE, text.parse().unwrap())]);
            Part::of(&headers, 10)
        };
        assert_eq!(Part::of(&HeaderMap::new(), 10), Part::Whole);
        assert_eq!(part("bytes=0-3"), Part::Some(0..4));
        assert_eq!(part("bytes=5-"), Part::Some(5..10));
        assert_eq!(part("bytes=5-99"), Part::Some(5..10));
        assert_eq!(part("bytes=-3"), Part::Some(7..10));
        assert_eq!(part("bytes=-99"), Part::Some(0..10));
        assert_eq!(part("bytes=0-18446744073709551615"), Part::Some(0..10));
        for none in ["bytes=10-", "bytes=11-12", "bytes=-0"] {
            assert_eq!(part(none), Part::None, "{none}");
        }
        for whole in [
            "bytes=",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=a-b",
        ] {
            assert_eq!(part(whole), Part::Whole, "{whole}");
        }
    }
}

//! Half of a surrogate pair as a text in JSON: what JavaScript writes when it cuts a text inside an emoji.
//!
//! Go reads each as U+FFFD; readers in other languages refuse the whole body.

use std::borrow::Cow;
use std::ops::Range;

/// The bytes of `\uXXXX`.
const ESCAPE: usize = 6;
/// What each is replaced by.
pub const REPLACEMENT: &str = r"\ufffd";

/// Where halves without their other half stand in `json`.
#[must_use]
pub fn lone_surrogates(json: &[u8]) -> Vec<Range<usize>> {
    let mut lone = Vec::new();
    let mut high = None;
    for at in memchr::memmem::find_iter(json, r"\u").filter(|at| is_escape(json, *at)) {
        let unit = unit(json, at);
        let is_low = matches!(unit, Some(0xDC00..=0xDFFF));
        if is_low && high.is_some_and(|high| high + ESCAPE == at) {
            high = None;
            continue;
        }
        lone.extend(high.take());
        match unit {
            Some(0xD800..=0xDBFF) => high = Some(at),
            Some(0xDC00..=0xDFFF) => lone.push(at),
            _ => {}
        }
    }
    lone.extend(high);
    lone.into_iter().map(|at| at..at + ESCAPE).collect()
}

/// The JSON with U+FFFD for each of them.
pub(super) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let lone = lone_surrogates(json.as_bytes());
    if lone.is_empty() {
        return Cow::Borrowed(json);
    }
    let mut whole = json.to_owned();
    for at in lone {
        // As long as what it replaces, so the others stay where they are.
        whole.replace_range(at, REPLACEMENT);
    }
    Cow::Owned(whole)
}

/// Whether the backslash there is no text that another one escapes.
fn is_escape(json: &[u8], at: usize) -> bool {
    let before = json[..at].iter().rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 0
}

fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at + 2..at + ESCAPE)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_without_the_other_half_are_replaced() {
        for (json, whole) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00 \u00e9""#, r#""\uD83D\uDE00 \u00e9""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d \ude00""#, r#""\ufffd \ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n\ude00 é""#, r#""\ufffd\n\ufffd é""#),
            (r#""\ud8"#, r#""\ud8"#),
        ] {
            assert_eq!(without_lone_surrogates(json), whole, "{json}");
        }
    }
}

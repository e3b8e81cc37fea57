//! How deep a body nests, checked before it is parsed.
//!
//! Our own reading does not recurse, so depth does no harm to the router, but to servers: Go refuses
//! more than 10,000 levels with a 400, others crash or answer 500, which would count against a
//! server that did nothing wrong. So the limit is enforced here, and it is Go's.

use crate::protocol::skip;

/// The depth Go's `encoding/json` still follows.
const MAX_DEPTH: usize = 10_000;

/// Whether the body opens more than [`MAX_DEPTH`] objects and arrays within one another.
///
/// Expects JSON, but is defined for anything. Ordinary bodies are too short for it, or have too few
/// brackets in all, and cost one quick count at most.
pub(super) fn is_too_deep(json: &[u8]) -> bool {
    json.len() > 2 * MAX_DEPTH
        && memchr::memchr2_iter(b'{', b'[', json)
            .nth(MAX_DEPTH)
            .is_some()
        && deepest(json) > MAX_DEPTH
}

fn deepest(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = skip::behind_string(json, at).unwrap_or(json.len()),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize, padding: usize) -> Vec<u8> {
        let mut json = "[".repeat(depth);
        json.push_str(&" ".repeat(padding));
        json.push_str(&"]".repeat(depth));
        json.into_bytes()
    }

    #[test]
    fn ten_thousand_levels_pass_and_one_more_does_not() {
        assert!(!is_too_deep(&nested(MAX_DEPTH, 1)));
        assert!(is_too_deep(&nested(MAX_DEPTH + 1, 0)));
    }

    #[test]
    fn brackets_beside_one_another_or_in_text_are_not_deep() {
        assert!(!is_too_deep("[],".repeat(20_000).as_bytes()));
        let text = format!(r#"{{"a":"\\\"{}"}}"#, "[".repeat(30_000));
        assert!(!is_too_deep(text.as_bytes()));
    }
}

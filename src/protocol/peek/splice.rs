//! Small changes to a body that is otherwise sent as it came.
//!
//! The body is not written anew: texts are put into it at places that [`peek()`](super::peek()) found,
//! so that everything else reaches the server as the client spelt it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// What to put where, in the very body that was peeked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    replaced: Range<usize>,
    text: Cow<'static, str>,
}

impl Splice {
    /// Puts `text` in place of the bytes `replaced`.
    #[must_use]
    pub fn new(replaced: Range<usize>, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            replaced,
            text: text.into(),
        }
    }
}

/// The same body with these changes, which do not overlap. Without any it is not copied, and neither
/// is a body that is not the one that was peeked at.
#[must_use]
pub fn splice(body: &Bytes, splices: &[Splice]) -> Bytes {
    if splices.is_empty() {
        return body.clone();
    }
    let mut splices: Vec<&Splice> = splices.iter().collect();
    splices.sort_unstable_by_key(|splice| splice.replaced.start);
    let more: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut spliced = BytesMut::with_capacity(body.len() + more);
    let mut at = 0;
    for Splice { replaced, text } in splices {
        let Some(kept) = body.get(at..replaced.start) else {
            return body.clone();
        };
        spliced.extend_from_slice(kept);
        spliced.extend_from_slice(text.as_bytes());
        at = replaced.end;
    }
    let Some(kept) = body.get(at..) else {
        return body.clone();
    };
    spliced.extend_from_slice(kept);
    spliced.freeze()
}

/// Where `part`, which was borrowed from `whole`, lies in it.
pub(super) fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_any_order_and_nothing_else_changes() {
        let body = Bytes::from_static(br#"{"model": "a", "x": 1}"#);
        let later = Splice::new(20..21, "22");
        let sooner = Splice::new(10..13, r#""bcd""#);
        let expected = Bytes::from_static(br#"{"model": "bcd", "x": 22}"#);
        assert_eq!(splice(&body, &[later, sooner]), expected);
        assert_eq!(splice(&body, &[]), body);
    }

    #[test]
    fn a_body_that_is_another_one_stays_as_it_is() {
        let body = Bytes::from_static(b"{}");
        assert_eq!(splice(&body, &[Splice::new(10..13, "x")]), body);
        assert_eq!(splice(&body, &[Splice::new(1..13, "x")]), body);
    }
}

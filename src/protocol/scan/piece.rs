//! The usual object, read in one step.
//!
//! Nearly everything that passes is one small object, whole in its chunk, that is a piece of an
//! answer: not done, no error, no usage. It is recognised here without keeping state, several times
//! faster than byte by byte. Whatever is not exactly that, or is not all there, is left to the
//! incremental scanner, from its first byte. Both must agree on what both can read: the tests cut
//! the same bytes in every way, and a cut object is only ever read by the other one.

use super::document::{Choices, Document, Field};
use crate::protocol::skip;

/// The object that `bytes` begin with, and what is behind it.
pub(super) fn read(bytes: &[u8]) -> Option<(Document, &[u8])> {
    let mut document = Document::default();
    let mut at = behind(bytes, 0, b'{')?;
    loop {
        let key = behind(bytes, at, b'"')?;
        at = key + skip::quote_or_escape(&bytes[key..])?;
        let field = Field::at_top(&bytes[key..at]);
        at = behind(bytes, at, b'"')?; // no escape
        let value = behind_space(bytes, behind(bytes, at, b':')?);
        at = skip::behind_value(bytes, value)?;
        match (field, &bytes[value..at]) {
            (Field::Other, _) | (Field::Done, b"false") | (Field::Usage, b"null") => {}
            (Field::Choices, [b'[', b'{', ..]) => document.choices = Some(Choices::Some),
            _ => return None,
        }
        match bytes.get(at)? {
            b',' => at = behind_space(bytes, at + 1),
            b'}' => return Some((document, &bytes[at + 1..])),
            _ => return None,
        }
    }
}

fn behind(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*bytes.get(at)? == byte).then_some(at + 1)
}

/// Python's way of writing JSON.
fn behind_space(bytes: &[u8], at: usize) -> usize {
    at + usize::from(bytes.get(at) == Some(&b' '))
}

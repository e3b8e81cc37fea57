//! The usual object, read in one step.
//!
//! Nearly everything that passes is one small object, whole in its chunk, that is a piece of an
//! answer: not done, no error, no usage. It is recognised here without keeping state, several times
//! faster than byte by byte. Whatever is not exactly that, or is not all there, is left to the
//! incremental scanner, from its first byte. Both must agree on what both can read: the tests cut
//! the same bytes in every way, and a cut object is only ever read by the other one.

use super::choices;
use super::document::{Choices, Document, Field};
use super::kind::Kind;
use crate::protocol::skip;

/// The object that `bytes` begin with, and what is behind it. One that is `typed` is an event that says so.
#[inline]
pub(super) fn read(bytes: &[u8], typed: bool) -> Option<(Document, &[u8])> {
    match typed {
        false => untyped(bytes),
        true => event(bytes),
    }
}

/// An event that is a piece of what is generated.
fn event(bytes: &[u8]) -> Option<(Document, &[u8])> {
    let mut document = Document::default();
    let mut at = behind(bytes, 0, b'{')?;
    loop {
        let (key, value, behind) = entry(bytes, at)?;
        match (Field::at_typed_top(key), value) {
            // What is said in the `delta` of a piece matters to nobody here.
            (Field::Other | Field::Delta, _) => {}
            (Field::Kind, [b'"', name @ .., b'"']) if !name.contains(&b'\\') => {
                document.kind = Kind::of(name);
            }
            _ => return None,
        }
        match bytes.get(behind)? {
            b',' => at = behind_space(bytes, behind + 1),
            b'}' if document.kind == Kind::Piece => return Some((document, &bytes[behind + 1..])),
            _ => return None,
        }
    }
}

#[inline]
fn untyped(bytes: &[u8]) -> Option<(Document, &[u8])> {
    let mut document = Document::default();
    let mut at = behind(bytes, 0, b'{')?;
    loop {
        let key = key(bytes, at)?;
        at = key.behind;
        match (Field::at_top(key.text), bytes.get(at..)?) {
            (Field::Choices, [b'[', b'{', ..]) => {
                document.choices = Some(Choices::Some);
                let (finishes, behind) = choices::read(bytes, at + 1)?;
                document.finishes.add(finishes);
                at = behind;
            }
            (field, _) => {
                let value = at;
                at = skip::behind_value(bytes, value)?;
                match (field, &bytes[value..at]) {
                    (Field::Other, _) | (Field::Usage, b"null") => {}
                    (Field::Object, [b'"', kind @ .., b'"']) if kind != b"error" => {}
                    (Field::Error, b"null" | b"\"\"" | b"{}" | b"[]") => {}
                    (Field::Done, b"false") => document.done = Some(false),
                    _ => return None,
                }
            }
        }
        match bytes.get(at)? {
            b',' => at = behind_space(bytes, at + 1),
            b'}' => return Some((document, &bytes[at + 1..])),
            _ => return None,
        }
    }
}

/// A key, and where its value begins.
struct Key<'a> {
    text: &'a [u8],
    behind: usize,
}

#[inline]
fn key(bytes: &[u8], at: usize) -> Option<Key<'_>> {
    let begin = behind(bytes, at, b'"')?;
    let end = begin + skip::quote_or_escape(&bytes[begin..])?;
    let colon = behind(bytes, end, b'"')?; // no escape
    Some(Key {
        text: &bytes[begin..end],
        behind: behind_space(bytes, behind(bytes, colon, b':')?),
    })
}

/// A key, its value, and where that is over.
#[inline]
pub(super) fn entry(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let key = key(bytes, at)?;
    let behind = skip::behind_value(bytes, key.behind)?;
    Some((key.text, &bytes[key.behind..behind], behind))
}

#[inline]
pub(super) fn behind(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*bytes.get(at)? == byte).then_some(at + 1)
}

/// Python's way of writing JSON.
#[inline]
pub(super) fn behind_space(bytes: &[u8], at: usize) -> usize {
    at + usize::from(bytes.get(at) == Some(&b' '))
}

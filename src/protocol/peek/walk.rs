//! One level of a JSON text at a time, never a tree.
//!
//! A request may be 200 MiB of images around forty bytes that matter. Each function visits entries
//! and hands out every value as the raw text it is; values are passed over iteratively, so neither
//! memory nor stack grows with what a client nests. The first walk, over the whole body, is serde's
//! and validates; what it found to be JSON may be walked again without validation, which is much faster.
//!
//! Keys are read as bytes because half a surrogate pair (which JavaScript writes when it cuts a text
//! in an emoji) is not text for Rust, but is for every server.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::skip;

/// Visits the entries of the object that `json` begins with; says whether anything but space follows it.
pub(in crate::protocol) fn entries<'a>(
    json: &'a str,
    visit: impl FnMut(&[u8], &'a RawValue),
) -> Result<bool, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Entries(visit))?;
    Ok(deserializer.end().is_err())
}

/// Visits the entries of every object in the array that `json` is, with their raw keys. Only for what
/// serde has found to be JSON; nothing if it is no array of objects.
pub(super) fn objects<'a>(json: &'a str, mut visit: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let bytes = json.as_bytes();
    let mut at = behind(bytes, 0, b'[')?;
    loop {
        at = behind_space(bytes, at);
        match bytes.get(at)? {
            b']' => return Some(()),
            b',' => at += 1,
            _ => {
                at = behind(bytes, at, b'{')?;
                while let Some((key, value)) = entry(json, &mut at)? {
                    visit(key, value);
                }
            }
        }
    }
}

/// The next entry of the object that is open at `at`; without one, `at` is behind its end.
fn entry<'a>(json: &'a str, at: &mut usize) -> Option<Option<(&'a str, &'a str)>> {
    let bytes = json.as_bytes();
    *at = behind_space(bytes, *at);
    if bytes.get(*at)? == &b',' {
        *at = behind_space(bytes, *at + 1);
    }
    if bytes.get(*at)? == &b'}' {
        *at += 1;
        return Some(None);
    }
    let key = behind(bytes, *at, b'"')?;
    let behind_key = skip::behind_string(bytes, key)?;
    let colon = behind_space(bytes, behind_key);
    let value = behind_space(bytes, behind(bytes, colon, b':')?);
    *at = skip::behind_value(bytes, value)?;
    Some(Some((
        json.get(key..behind_key - 1)?,
        json.get(value..*at)?,
    )))
}

fn behind(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*bytes.get(at)? == byte).then_some(at + 1)
}

fn behind_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(at) {
        at += 1;
    }
    at
}

struct Entries<F>(F);

impl<'de, F: FnMut(&[u8], &'de RawValue)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            (self.0)(&key, map.next_value()?);
        }
        Ok(())
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }
}

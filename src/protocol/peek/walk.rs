//! One level of a JSON text at a time, never a tree.
//!
//! A request may be 200 MiB of images around forty bytes that matter. Each function visits the
//! entries of one object and hands out every value as the raw text it is; serde skips through a
//! value iteratively, so neither memory nor stack grows with what a client nests. Keys are read as
//! bytes because half a surrogate pair (which JavaScript writes when it cuts a text in an emoji) is
//! not text for Rust, but is for every server.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Visits the entries of the object that `json` is. Anything behind it is an error.
pub(super) fn entries<'a>(
    json: &'a str,
    visit: impl FnMut(&[u8], &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Entries(visit))?;
    deserializer.end()
}

/// Visits the entries of every object in the array that `json` is, with the object's index.
pub(super) fn objects<'a>(
    json: &'a str,
    visit: impl FnMut(usize, &[u8], &'a RawValue),
) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(json).deserialize_seq(Objects(visit))
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

impl<'de, F: FnMut(&[u8], &'de RawValue)> DeserializeSeed<'de> for Entries<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

struct Objects<F>(F);

impl<'de, F: FnMut(usize, &[u8], &'de RawValue)> Visitor<'de> for Objects<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        let visit = &mut self.0;
        while let Some(()) =
            seq.next_element_seed(Entries(|key: &[u8], value| visit(index, key, value)))?
        {
            index += 1;
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

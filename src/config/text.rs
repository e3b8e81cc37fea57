//! Values that are written as text and mean something else.
//!
//! One visitor serves them all, so that a number where text belongs is answered with what was
//! expected (`a duration such as "30s"`) and not with the name of a Rust type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// Reads text and parses it; `expected` completes "invalid type: integer, expected …".
pub(super) fn parsed<'de, D, T, P, E>(
    deserializer: D,
    expected: &'static str,
    parse: P,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    P: FnOnce(&str) -> Result<T, E>,
    E: fmt::Display,
{
    deserializer.deserialize_str(TextVisitor {
        expected,
        parse,
        value: PhantomData,
    })
}

struct TextVisitor<P, T> {
    expected: &'static str,
    parse: P,
    value: PhantomData<T>,
}

impl<P, T, E> Visitor<'_> for TextVisitor<P, T>
where
    P: FnOnce(&str) -> Result<T, E>,
    E: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<F: Error>(self, written: &str) -> Result<T, F> {
        (self.parse)(written).map_err(F::custom)
    }
}

//! Serde's deserializer for the tree: which Rust value a node stands for.
//!
//! Types decide how bare text is taken: `--set access.admin_key=12345` is text because a key is
//! text, `--set routing.attempts=5` a number because attempts are one. Nothing is lost on the way,
//! so errors name what was written.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};

use super::tree::{Node, Value};

/// Why a node is not the value that a field takes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mismatch(String);

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }

    /// The key itself is named by its path.
    fn unknown_field(_field: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("unknown key; known are {}", expected.join(", ")))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("must be {}, not {found}", in_words(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("\"{variant}\" is none of {}", expected.join(", ")))
    }
}

/// Rust's names of numbers mean nothing to an operator.
fn in_words(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a string" => "text in quotes".to_owned(),
        words => words.to_owned(),
    }
}

impl Value {
    fn visit<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Text(text) => visitor.visit_str(text),
            Self::Integer(integer) => visitor.visit_i64(*integer),
            Self::Float(float) => visitor.visit_f64(*float),
            Self::Bool(switch) => visitor.visit_bool(*switch),
            Self::Bare(_, scalar) => scalar.visit(visitor),
            Self::List(nodes) => visitor.visit_seq(SeqDeserializer::new(nodes.iter())),
            Self::Table(table) => visitor.visit_map(MapDeserializer::new(
                table.iter().map(|(name, node)| (name.as_str(), node)),
            )),
        }
    }

    fn visit_text<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Bare(written, _) => visitor.visit_str(written),
            other => other.visit(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.value.visit(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.value.visit_text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.value.visit_text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let variant: StringDeserializer<Mismatch> = String::deserialize(self)?.into_deserializer();
        visitor.visit_enum(variant)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

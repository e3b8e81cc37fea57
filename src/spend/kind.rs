//! How a kind of account is written down, in the journal and on its way: by its name.
//!
//! A name that is not known makes the whole record unreadable, and that is right: it was written by
//! a later version, under a later format, or something happened to it.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::domain::EntityKind;

pub(super) fn serialize<S: Serializer>(kind: &EntityKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.as_str())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EntityKind, D::Error> {
    let name = Cow::<str>::deserialize(from)?;
    name.parse()
        .map_err(|_| D::Error::custom(format_args!("`{name}` is no kind of account")))
}

//! The words of the trade, pure: no clock, no I/O, no async.
//!
//! Everything above speaks in these types. What is here may be used by every floor and imports none.

mod charge;
mod entity;
mod model;
mod record;
mod tokens;

pub use charge::{Charge, Payer};
pub use entity::{EntityKind, InvalidEntityKind, MAX_ENTITY_CHARS, UNATTRIBUTED};
pub use model::{InvalidModelName, ModelName};
pub use record::UsageRecord;
pub use tokens::TokenCounts;

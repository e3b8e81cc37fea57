//! The domain types, pure: no clock, no I/O, no async.
//!
//! Everything above uses these types. What is here may be used by every layer and imports none.

mod account;
mod budget;
mod calendar;
mod charge;
mod entity;
mod facts;
mod keep_alive;
mod model;
mod period;
mod price;
mod record;
mod tokens;

pub use account::{Account, AccountKind, ModelRule, is_account_id, member_id};
pub use budget::{Allowance, Budget, Limits};
pub use calendar::day_of;
pub use charge::{Charge, Payer};
pub use entity::{EntityKind, InvalidEntityKind, MAX_ENTITY_CHARS, UNATTRIBUTED};
pub use facts::{Gpu, MAX_FACT_MODELS, Machine, ServerFacts};
pub use keep_alive::{InvalidKeepAlive, KeepAlive, go_seconds};
pub use model::{InvalidModelName, ModelName, NameParts};
pub use period::Period;
pub use price::{MOST_NANO_USD, Price, Rate, format_usd, parse_usd};
pub use record::UsageRecord;
pub use tokens::TokenCounts;

//! What a client can see of Go: how it writes JSON and time, how it reads objects and durations.
//!
//! Ollama is written in Go, and its clients and proxies depend on how Go encodes: `<` is escaped,
//! trailing zeros of a second's fraction are dropped, the last of two equal keys wins, keys match
//! in any case. All of it is here, so that the rest of the simulator deals with models only. Pure;
//! knows nothing of Ollama.

mod duration;
mod json;
mod mend;
mod mismatch;
mod object;
mod time;

pub use duration::parse_duration;
pub use json::{escape, quote, to_vec};
pub use mismatch::in_field;
pub(super) use object::go_object;
pub use object::{Keys, absent, read};
pub use time::rfc3339_nano;

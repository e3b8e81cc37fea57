//! The production of an answer: its text, its dialect, its pace, and how it may break.
//!
//! [`Ongoing`] holds what a running answer occupies and counts it exactly once, [`Script`] knows every
//! byte of it, [`Stream`] writes the scripted answer token by token. The dialects
//! write bytes by hand, field by field in the order of Ollama's structs: the order is part of what
//! is simulated, and a burst of tokens is the hot path of every load test.

mod anthropic;
mod cut;
mod metrics;
mod native;
mod ongoing;
mod openai;
mod responses;
mod script;
mod stream;
mod write;

pub use cut::{Cut, How, RUNNER_STOPPED};
pub use metrics::{Metrics, Times};
pub use ongoing::Ongoing;
pub use script::{Dialect, Family, Reason, Script};
pub use stream::{Pace, Stream};
pub use write::number;

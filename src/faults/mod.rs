//! What a failure is evidence of, and what follows from it: the rules, and nothing else.
//!
//! A failed request says something about the request, about one model on one server, or about the
//! server. [`Fault`] names how it failed and [`Fault::consequence`] what follows; [`Comparison`]
//! tells a request that fails everywhere from a server that fails; [`Breakers`] keeps how long a
//! model is avoided on a server; [`is_late`] says when a client that leaves is evidence. The table is in
//! `docs/faults.md`.
//!
//! All of it is pure: statuses, bytes and times in, values out. It must not know who asks, and cannot fail.

mod breaker;
mod comparison;
mod fault;
mod first_byte;

pub use breaker::{Admission, Breakers, Closed, Failing};
pub use comparison::{Comparison, Fingerprint};
pub use fault::{Avoid, Consequence, Fault, OnServer, Pause};
pub use first_byte::{LATE_IN_A_ROW, is_late, next_p95, worth_a_slot};

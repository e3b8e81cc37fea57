//! Which servers to ask, and in which order: a pure choice over what is known now.
//!
//! Owns the rules of preference and nothing else. It sees a server only through [`Candidate`], so
//! it is tested without a fleet, and its result is a proposal: the numbers it reads may be a
//! moment old, and the endpoint's own actor decides. A wrong proposal costs one refusal.
//!
//! The rules, in order:
//! 1. A lower `priority` tier is used before a higher one, which only serves when everything below
//!    it is busy or gone.
//! 2. Inside a tier a server that has the model loaded and a slot free wins, the least loaded for
//!    its weight first.
//! 3. Else a server that would have to load it, but never one that is loading another model (one
//!    cold load at a time: Ollama loads models one after another) and never the busiest of the tier.
//! 4. A server on which this model keeps failing is left out as long as one exists where it does
//!    not: a fast failure leaves a server idle, and an idle server is preferred.

mod rank;

pub use rank::{Candidate, Choice, MAX_CHOICES, NoCandidate, Rank, Route, Tier, rank};

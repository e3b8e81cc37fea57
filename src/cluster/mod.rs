//! What several routers decide between them.
//!
//! Owns the [`lease`]: who of them does what only one should do; the rule by which they share [`slots`]; the
//! [`bus`] over which they tell each other what is new; and [`DeferredConnection`], which lets a router start while
//! Redis is away. It must not know what the lease is for, nor which Redis it is held in: anything that is a
//! connection will do.
//!
//! Nothing here is a guarantee by itself. A router can be paused between looking at its lease and
//! acting on it, so every action carries the lease's epoch to where it takes effect.

pub mod bus;
mod deferred;
pub mod lease;
pub mod loads;
pub mod slots;

pub use deferred::DeferredConnection;

//! What several routers decide between them.
//!
//! Owns the [`lease`]: who of them does what only one should do; and [`Late`], which lets a router
//! start while Redis is away. It must not know what the lease is for, nor which Redis it is held in:
//! anything that is a connection will do.
//!
//! Nothing here is a promise by itself. A router can be paused between looking at its lease and
//! acting on it, so whoever acts carries the lease's epoch along, to where the act takes effect.

mod late;
pub mod lease;

pub use late::Late;

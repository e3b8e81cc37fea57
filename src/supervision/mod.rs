//! What happens when an actor dies: the one place that decides it.
//!
//! Owns the policy ([`RestartPolicy`], [`Restart`], [`Backoff`]: pure, the time and the dice are
//! arguments), the [`Slot`] through which others reach whichever incarnation lives now, and
//! [`guardian`], an actor that keeps a fixed set of children alive. It must not know what the
//! children do.
//!
//! An actor which supervises children that come and go (one per server, say) keeps a [`Restart`] for
//! each, asks it in `handle_supervisor_evt`, and acts on the [`Verdict`]. That method has to be
//! written in any case: ractor's own stops the supervisor when a child dies.

mod backoff;
pub mod guardian;
mod restart;
mod slot;

pub use backoff::Backoff;
pub use restart::{Restart, RestartPolicy, Verdict};
pub use slot::Slot;

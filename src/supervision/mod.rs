//! Actors: how one is written, how it is reached, and what happens when it ends.
//!
//! Owns the [`shell`] around an actor ([`Actor`], [`Context`], [`Mailbox`]) and the [`Supervisor`] that
//! restarts it by a policy ([`RestartPolicy`], [`Backoff`]: pure, time and random numbers are arguments).
//! Nothing outside this module knows the actor library. It must not know what any actor does.

mod backoff;
mod restart;
pub mod shell;
pub mod supervisor;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use restart::RestartPolicy;
use restart::{Decision, Restart};
pub use shell::{Actor, Context, Incarnation, Mailbox, Reply};
pub use supervisor::{Child, ChildGuard, StartError, Supervisor};

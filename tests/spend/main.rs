//! The counting pipelines of several routers, and the routers themselves, over real Redis and real
//! databases that are killed, stopped, emptied and cut off.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(
    clippy::print_stdout,
    reason = "a storm that fails is found again by its seed"
)]

mod alerts;
mod backups;
mod cluster;
mod contended;
mod doubled;
mod durability;
mod lead;
mod lost;
mod misplaced;
mod processes;
mod recover;
mod seen;
mod served;
mod starts;
mod storm;
mod support;

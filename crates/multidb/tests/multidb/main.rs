//! The multi-database client against real Redis: processes that are killed, stopped, demoted and
//! cut off while users work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod broken_networks;
mod close;
mod defects;
mod docs;
mod fallback;
mod faults;
mod given_up;
mod health;
mod idle;
mod kinds;
mod pubsub;
mod repeat;
mod resharding;
mod runtime;
mod secured;
mod start;
mod storm;
mod strategy;
mod support;
mod surface;
mod unavailable;

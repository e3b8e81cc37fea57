//! The multi-database client against real Redis: processes that are killed, stopped, demoted and
//! cut off while users work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../redis/mod.rs"]
mod real_redis;

mod broken_networks;
mod faults;
mod support;

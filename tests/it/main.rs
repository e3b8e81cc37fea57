//! The router as its clients see it: real sockets, simulated servers, one process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod bad_input;
mod choice;
mod clients;
mod counting;
mod failover;
mod kill;
mod leaving;
mod lists;
mod serving;
mod storm;
mod support;
mod watching;

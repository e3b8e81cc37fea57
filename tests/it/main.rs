//! The router as its clients see it: real sockets, simulated servers, one process.

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

//! The router as its clients see it: real sockets, simulated servers, one process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod access_cli;
mod access_limits;
mod access_shared;
mod account;
mod aliases;
mod answers;
mod bad_input;
mod bodies;
mod cancelling;
mod chaos;
mod choice;
mod churn;
mod clients;
mod compat;
mod counting;
mod deleted;
mod dialects;
mod events;
mod failover;
mod faults;
mod folding;
mod freshness;
mod https;
mod kill;
mod leaving;
mod listening;
mod lists;
mod llama_server;
mod loads;
mod loops;
mod model_cli;
mod models;
mod observed;
mod outliving;
mod pauses;
mod placed;
mod recorded;
mod redis;
mod reload;
mod removing;
mod requests;
mod servers;
mod servers_cli;
mod serving;
mod slotless;
mod spend;
mod spend_cli;
mod storm;
mod support;
mod visibility;
mod watching;
mod withheld;

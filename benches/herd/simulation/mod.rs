//! Many routers in virtual time, around the product's own state machines.
//!
//! The rule by which slots are shared (`cluster::slots::Ledger`), what a router has of them (`fleet::ShareState`),
//! and the choice of a server (`routing::rank`) are the program's. Around them are simulated: clients, a queue per
//! router and model, servers, Redis with the time its script takes, and the network to it. One seed gives one
//! result.
//!
//! Not simulated: loads (every model is loaded where it is), failing servers, and what a router's own CPU costs.

mod chance;
mod event;
mod events;
mod figures;
mod plan;
mod redis;
mod router;
mod server;
mod side;
mod world;

pub use figures::Figures;
pub use plan::Plan;
pub use redis::{COST, Recorded};
pub use world::{record, simulate};

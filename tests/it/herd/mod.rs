//! Slots that several routers share: the rule in Redis, and routers in front of the same servers.

mod routers;
mod rule;
mod simulated;

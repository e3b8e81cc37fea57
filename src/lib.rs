//! One dependable address for a fleet of Ollama servers.
//!
//! The program has layers; a folder is named for what it owns, and lower layers never import
//! higher ones (`tests/architecture.rs` keeps this true). `docs/ARCHITECTURE.md` follows a request
//! and a token through it.
//!
//! | layer | modules |
//! |---|---|
//! | 0 | [`domain`] |
//! | 1 | [`clock`], [`config`], [`faults`], [`mdns`], [`metrics`], [`protocol`], [`routing`], [`supervision`], [`system`], [`watched`] |
//! | 2 | [`backend`], [`upstream`], [`store`] |
//! | 3 | [`agent`], [`cluster`] |
//! | 4 | [`access`], [`fleet`], [`mirror`], [`registrar`], [`usage`], [`spend`] |
//! | 5 | [`gateway`], [`inventory`], [`models`] |
//! | 6 | [`discovery`], [`http`], [`replicas`] |
//! | 7 | [`app`] |
//! | 8 | [`cli`] and `main` |
//!
//! What stands without the product is a crate in `crates/`: the client of several Redis databases
//! ([`herdsman_multidb`]) and the simulated Ollama server ([`herdsman_simulator`]).

pub mod access;
pub mod agent;
pub mod app;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod discovery;
pub mod domain;
pub mod faults;
pub mod fleet;
pub mod gateway;
pub mod http;
pub mod inventory;
pub mod mdns;
pub mod metrics;
pub mod mirror;
pub mod models;
pub mod protocol;
pub mod registrar;
pub mod replicas;
pub mod routing;
pub mod spend;
pub mod store;
pub mod supervision;
pub mod system;
pub mod upstream;
pub mod usage;
pub mod watched;

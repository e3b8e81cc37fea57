//! Real Redis: server processes, clusters and sentinel groups.

mod cluster;
mod sentinel;
mod server;

pub use cluster::Cluster;
pub use sentinel::SentinelGroup;
pub use server::{Plan, Server};

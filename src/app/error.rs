//! Why the router does not start.

use std::path::PathBuf;

use thiserror::Error;

use crate::{discovery, gateway, inventory, registrar, spend, store, supervision};

/// What could not be started.
#[derive(Debug, Error)]
pub enum Error {
    /// The data folder cannot be made or written.
    #[error("data folder {0}: {1}")]
    DataDir(PathBuf, std::io::Error),
    /// Another process uses it.
    #[error("data folder {0} is in use by another process")]
    Locked(PathBuf),
    /// The address to listen on.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The certificate or its key.
    #[error("server.tls_cert: {0}")]
    Tls(#[from] crate::http::TlsError),
    /// The servers.
    #[error(transparent)]
    Endpoint(#[from] inventory::InvalidEndpoint),
    /// Where servers are looked for.
    #[error("discovery: {0}")]
    Discovery(#[from] discovery::StartError),
    /// The access log.
    #[error(transparent)]
    AccessLog(#[from] gateway::LogError),
    /// The database.
    #[error("database: {0}")]
    Store(#[from] store::Error),
    /// Another router uses it.
    #[error("database: {0}")]
    Occupied(#[from] registrar::Occupied),
    /// The Redis databases.
    #[error("redis: {0}")]
    Redis(String),
    /// The journal.
    #[error(transparent)]
    Spend(#[from] spend::StartError),
    /// The mirror of models.
    #[error("models.mirror: {0}")]
    Mirror(#[from] crate::mirror::CannotStart),
    /// An actor.
    #[error("actor did not start: {0}")]
    Actor(#[from] supervision::StartError),
    /// Certificates or signals.
    #[error("system: {0}")]
    System(#[from] std::io::Error),
}

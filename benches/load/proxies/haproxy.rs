//! HAProxy as its users would set it up for streams.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use crate::error::{BenchError, Doing as _};

/// Where Debian and its derivatives install it.
pub const PROGRAM: &str = "/usr/sbin/haproxy";

/// One thread. Without `http-no-delay` it holds a stream's first piece for 200 ms.
///
/// # Errors
/// When the configuration cannot be written.
pub fn command(
    listen: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> Result<Command, BenchError> {
    let config = format!(
        "global
    nbthread 1
    maxconn 9000

defaults
    mode http
    option http-no-delay
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 10m
    timeout server 10m

frontend bench
    bind {listen}
    default_backend ollama

backend ollama
    server upstream {upstream}
"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, config).doing("writing HAProxy's configuration")?;
    let mut command = Command::new(PROGRAM);
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

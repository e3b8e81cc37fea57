//! nginx as its users would set it up for streams.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use crate::error::{BenchError, Doing as _};

/// Where Debian and its derivatives install it.
pub const PROGRAM: &str = "/usr/sbin/nginx";

/// One worker, buffering off. Keep-alive needs HTTP/1.1 and an empty `Connection` towards the
/// server; its default of 1,000 requests per connection would put reconnecting into the figures.
///
/// # Errors
/// When the configuration cannot be written.
pub fn command(
    listen: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> Result<Command, BenchError> {
    let here = folder.display();
    let config = format!(
        "daemon off;
worker_processes 1;
pid {here}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 16384;
}}

http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_buffer_size 1m;
    client_body_temp_path {here}/nginx-body;
    proxy_temp_path {here}/nginx-proxy;
    fastcgi_temp_path {here}/nginx-fastcgi;
    uwsgi_temp_path {here}/nginx-uwsgi;
    scgi_temp_path {here}/nginx-scgi;

    upstream ollama {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}

    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_read_timeout 10m;
        }}
    }}
}}
"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, config).doing("writing nginx's configuration")?;
    let mut command = Command::new(PROGRAM);
    // The compiled-in error log is opened before the configuration is read.
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(path);
    Ok(command)
}

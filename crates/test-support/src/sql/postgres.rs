//! PostgreSQL: its programs and options.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PASSWORD, Setup, USER, run, user};

pub const READY: &str = "database system is ready to accept connections";

/// "Immediate shutdown": ends at once like a kill, but it releases the system's shared memory.
const END: &str = "QUIT";

pub fn initialise(dir: &Path) {
    let password = dir.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    user::give(&password, "postgres");
    let mut command = user::command(program("initdb"), "postgres", "KILL");
    command
        .args(["--no-sync", "--encoding=UTF8", "--locale=C"])
        .args(["--auth=scram-sha-256", "--username", USER])
        .arg("--pwfile")
        .arg(password)
        .arg("-D")
        .arg(dir.join("data"));
    run(command);
}

pub fn server(dir: &Path, port: u16, setup: Setup) -> Command {
    let mut command = user::command(program("postgres"), "postgres", END);
    let mut set = |option: String| {
        command.arg("-c").arg(option);
    };
    set("listen_addresses=127.0.0.1".to_owned());
    set("unix_socket_directories=".to_owned());
    set(format!("port={port}"));
    set("dynamic_shared_memory_type=mmap".to_owned());
    // Of many tests at once.
    set("max_connections=400".to_owned());
    if !setup.durable {
        set("fsync=off".to_owned());
    }
    if setup.tls {
        set("ssl=on".to_owned());
        set(format!("ssl_cert_file={}/server.pem", dir.display()));
        set(format!("ssl_key_file={}/server.key", dir.display()));
    }
    command.arg("-D").arg(dir.join("data"));
    command
}

/// Still needs the statement.
pub fn client(port: u16, user: &str, password: &str, database: &str) -> Command {
    let mut command = Command::new(program("psql"));
    command
        .env("PGPASSWORD", password)
        .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"])
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", user])
        .args(["-d", database, "-c"]);
    command
}

/// One of the programs beside the client.
pub fn tool(name: &str, port: u16) -> Command {
    let mut command = Command::new(program(name));
    command.env("PGPASSWORD", PASSWORD).args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        USER,
    ]);
    command
}

/// Debian keeps the programs of each version in a folder of its own.
fn program(name: &str) -> PathBuf {
    let version = |folder: &PathBuf| -> u32 {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok()).unwrap_or(0)
    };
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    installed.sort_by_key(version);
    let newest = installed.pop().map(|folder| folder.join("bin").join(name));
    newest
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

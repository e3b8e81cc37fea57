//! MariaDB: its programs and options.

use std::path::Path;
use std::process::Command;

use super::{Setup, run, user};

pub const READY: &str = "ready for connections";

pub fn initialise(dir: &Path) {
    let mut command = user::command("mariadb-install-db", "mysql", "KILL");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", dir.join("data").display()))
        // Two servers in one folder for temporary files remove each other's.
        .arg(format!("--tmpdir={}", dir.display()))
        .args(["--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--innodb-log-file-size=8M"]);
    run(command);
}

pub fn server(dir: &Path, port: u16, setup: Setup) -> Command {
    let program = ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .unwrap_or("mariadbd");
    let mut command = user::command(program, "mysql", "KILL");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", dir.join("data").display()))
        .arg(format!("--socket={}", socket(dir)))
        .arg(format!("--pid-file={}", dir.join("pid").display()))
        .arg(format!("--tmpdir={}", dir.display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(["--skip-log-bin", "--lc-messages=en_US"])
        // Of many tests at once.
        .arg("--max-connections=400");
    if setup.durable {
        command.arg("--innodb-log-file-size=256M");
    } else {
        command.args(["--innodb-log-file-size=32M"]);
        command.args(["--innodb-flush-log-at-trx-commit=2"]);
    }
    if setup.tls {
        command
            .arg(format!("--ssl-cert={}/server.pem", dir.display()))
            .arg(format!("--ssl-key={}/server.key", dir.display()));
    }
    command
}

/// Still needs the statement.
pub fn client(dir: &Path, database: &str) -> Command {
    let mut command = tool(dir, "mariadb");
    command
        .args(["--batch", "--skip-column-names"])
        .arg("--delimiter=//")
        .args(["--default-character-set=utf8mb4"]);
    if !database.is_empty() {
        command.arg(format!("--database={database}"));
    }
    command.arg("--execute");
    command
}

/// One of the programs of an operator.
pub fn tool(dir: &Path, name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .arg("--no-defaults")
        .arg(format!("--socket={}", socket(dir)))
        .arg("--user=root");
    command
}

/// Creates the user that the URLs name.
pub fn account(user: &str, password: &str) -> String {
    format!("GRANT ALL PRIVILEGES ON *.* TO {user}@'%' IDENTIFIED BY '{password}'")
}

fn socket(dir: &Path) -> String {
    dir.join("socket").display().to_string()
}

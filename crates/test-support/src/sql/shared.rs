//! Servers that all tests of one run share, each test with databases of its own.
//!
//! A run is the process that starts test programs, `cargo` or `cargo-nextest`, or a test program
//! that was started by hand. The first test that needs a server starts it; later tests, in the same
//! process or in another of the run, find it by the run's folder. No test may break or pause it: a
//! test that does starts a [`Server`] of its own.
//!
//! A supervisor, a shell in a session of its own, is the server's parent. When the run is over,
//! however it ended, the supervisor ends the server and removes its files; if the supervisor ends,
//! the kernel ends the server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, getpid, getppid};
use tokio::time::Instant;

use super::{Flavor, Place, Server, Setup, user};
use crate::{Port, TEST_TIMEOUT};

/// Run with: the run's process, the server's folder, the signal that ends the server, and its
/// command line.
const SUPERVISOR: &str = r#"
run=$0; folder=$1; signal=$2; shift 2
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
tail --pid="$run" -s 0.2 -f /dev/null
kill -"$signal" "$server"; wait "$server"
rm -rf "$folder" "${folder%-*}".*
rmdir "${folder%/*}"
"#;

/// The run's server of this kind.
///
/// # Panics
/// When it cannot be started.
pub fn shared(flavor: Flavor) -> &'static Server {
    static POSTGRES: OnceLock<Server> = OnceLock::new();
    static MARIADB: OnceLock<Server> = OnceLock::new();
    let server = match flavor {
        Flavor::Postgres => &POSTGRES,
        Flavor::MariaDb => &MARIADB,
    };
    server.get_or_init(|| find_or_start(flavor, run()))
}

fn find_or_start(flavor: Flavor, run: Pid) -> Server {
    let folder = folder_of(run);
    let file = |ending: &str| folder.join(format!("{}.{ending}", flavor.account()));
    // Released when the file is closed, also by a process that is killed.
    let lock = File::create(file("lock")).unwrap();
    lock.lock().unwrap();
    let found = fs::read_to_string(file("found")).unwrap_or_default();
    if let Some((port, dir)) = found.split_once(' ') {
        return at(flavor, port.parse().unwrap(), dir.into());
    }
    // A process that was killed while it started a server left a folder, which is not reused.
    let dir = (0..)
        .map(|n| folder.join(format!("{}-{n}", flavor.account())))
        .find(|dir| fs::create_dir(dir).is_ok())
        .unwrap();
    let started = start(flavor, run, &dir);
    let written = file("written");
    fs::write(&written, format!("{} {}", started.port(), dir.display())).unwrap();
    fs::rename(written, file("found")).unwrap();
    started
}

fn start(flavor: Flavor, run: Pid, dir: &Path) -> Server {
    user::give(dir, flavor.account());
    flavor.initialise(dir);
    // No other test takes it between now and when the server listens there, or later.
    let port = Port::free();
    let server = at(flavor, port.number(), dir.to_owned());
    let (command, ready, end) = server.command();
    let mut supervisor = Command::new("setsid");
    supervisor
        .args(["sh", "-c", SUPERVISOR])
        .arg(run.as_raw_nonzero().to_string())
        .arg(dir)
        .arg(end.as_raw().to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    begin(supervisor);
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !server.log().contains(ready) {
        let log = server.log();
        assert!(Instant::now() < deadline, "it takes no connections: {log}");
        sleep(Duration::from_millis(5));
    }
    server.create_user();
    server
}

#[expect(
    clippy::zombie_processes,
    reason = "it outlives this process, and is then the child of another"
)]
fn begin(mut supervisor: Command) {
    supervisor.spawn().unwrap();
}

fn at(flavor: Flavor, port: u16, dir: PathBuf) -> Server {
    Server {
        flavor,
        setup: Setup::default(),
        port,
        process: None,
        dir: Place::Shared(dir),
    }
}

/// The process whose end is the end of the run.
fn run() -> Pid {
    let parent = getppid().filter(|parent| {
        let name = fs::read_to_string(format!("/proc/{}/comm", parent.as_raw_nonzero()));
        name.is_ok_and(|name| ["cargo", "cargo-nextest"].contains(&name.trim_end()))
    });
    parent.unwrap_or_else(getpid)
}

/// In memory where there is some, and of this run alone, although numbers of processes come again.
fn folder_of(run: Pid) -> PathBuf {
    let number = run.as_raw_nonzero();
    // `pid (name) state …`, where the name may hold anything: the 22nd field is when it began.
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    let began = after.split_whitespace().nth(19).unwrap();
    let memory = Path::new("/dev/shm");
    let above = match memory.is_dir() {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    };
    let folder = above.join(format!("herdsman-{number}-{began}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Another process of the run finds what the first one started, and of a run that is killed
    /// nothing is left.
    #[test]
    fn a_server_is_one_for_a_run_and_ends_with_it() {
        for flavor in [Flavor::Postgres, Flavor::MariaDb] {
            let mut process = Command::new("sleep").arg("600").spawn().unwrap();
            let run = Pid::from_child(&process);
            let folder = folder_of(run);
            let first = find_or_start(flavor, run);
            first.create("one");
            let second = find_or_start(flavor, run);
            assert_eq!(second.port(), first.port());
            assert_eq!(second.sql("one", "SELECT 1"), "1");

            process.kill().unwrap();
            process.wait().unwrap();
            let address = ("127.0.0.1", first.port());
            let deadline = Instant::now() + TEST_TIMEOUT;
            while folder.exists() || TcpStream::connect(address).is_ok() {
                assert!(Instant::now() < deadline, "{} is left", folder.display());
                sleep(Duration::from_millis(20));
            }
        }
    }
}

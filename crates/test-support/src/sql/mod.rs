//! Real database servers for tests and benches: one that all tests of a run share ([`shared()`]),
//! or one of a test's own, started on a free port with its own data folder and ended with the test,
//! even when it panics or is killed.
//!
//! What a test asks the server directly (its tables, its counters) goes through the server's own
//! client program, so that the code under test does not check itself.

mod backup;
mod folder;
mod mariadb;
mod operator;
mod postgres;
mod process;
mod shared;
mod user;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use folder::Folder;
pub use operator::{Operator, Rows};
use process::Process;
pub use shared::shared;

/// It is in every URL and must not be in any log.
pub const PASSWORD: &str = "sheep-dog";
const USER: &str = "herdsman";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// How a server is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// On a real disk and with every commit synced, as in production. Otherwise in memory, which is
    /// several times faster and survives a `kill -9` of the server just the same.
    pub durable: bool,
    /// With a certificate for `localhost`, see [`Server::authority`].
    pub tls: bool,
}

/// A running server. Ended when dropped.
pub struct Server {
    flavor: Flavor,
    setup: Setup,
    port: u16,
    // In this order: the folder is removed when the process has ended.
    process: Option<Process>,
    dir: Place,
}

/// Where a server keeps its files.
enum Place {
    /// Until it is dropped.
    Own(Folder),
    /// Until the run is over.
    Shared(PathBuf),
}

impl Server {
    /// Starts one with its defaults, in memory.
    pub fn start(flavor: Flavor) -> Self {
        Self::start_with(flavor, Setup::default())
    }

    /// Starts one and waits until it takes connections.
    pub fn start_with(flavor: Flavor, setup: Setup) -> Self {
        let dir = Folder::new(setup.durable);
        user::give(dir.path(), flavor.account());
        let mut server = Self {
            flavor,
            setup,
            port: 0,
            process: None,
            dir: Place::Own(dir),
        };
        if setup.tls {
            server.make_certificate();
        }
        flavor.initialise(server.dir.path());
        server.begin_on_a_free_port();
        server.create_user();
        server
    }

    /// The URL of `database`.
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.port, database)
    }

    /// The same, through a proxy on another port.
    pub fn url_through(&self, port: u16, database: &str) -> String {
        let scheme = match self.flavor {
            Flavor::Postgres => "postgres",
            Flavor::MariaDb => "mysql",
        };
        format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// The port it listens on at 127.0.0.1, the same after [`Server::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database.
    pub fn create(&self, database: &str) {
        match self.flavor {
            Flavor::Postgres => self.sql("postgres", &format!("CREATE DATABASE {database}")),
            Flavor::MariaDb => self.sql("", &format!("CREATE DATABASE {database}")),
        };
    }

    /// What the server's own client answers: rows by line, columns by tab.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement)
            .unwrap_or_else(|said| panic!("{statement}: {said}\n{}", self.log()))
    }

    /// The same, where a refusal is an answer.
    pub fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut client = match self.flavor {
            Flavor::Postgres => postgres::client(self.port, USER, PASSWORD, database),
            Flavor::MariaDb => mariadb::client(self.dir.path(), database),
        };
        let output = client.arg(statement).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// How many deadlocks the server has resolved since it was started, by its own count.
    pub fn deadlocks(&self) -> u64 {
        let counted = match self.flavor {
            Flavor::Postgres => self.sql("postgres", "SELECT sum(deadlocks) FROM pg_stat_database"),
            Flavor::MariaDb => self.sql(
                "",
                "SELECT variable_value FROM information_schema.global_status \
                 WHERE variable_name = 'Innodb_deadlocks'",
            ),
        };
        counted.parse().unwrap()
    }

    /// The CPU time it has used since it was started, that of connections that are gone included.
    pub fn cpu(&self) -> Duration {
        self.process.as_ref().unwrap().cpu()
    }

    /// `kill -9`, of all its processes.
    ///
    /// # Panics
    /// When it is shared: others use it.
    pub fn kill(&mut self) {
        assert!(matches!(self.dir, Place::Own(_)), "it is shared");
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// The same data folder, the same port, a new process.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it is running");
        self.process = Some(self.begin().unwrap_or_else(|log| panic!("{log}")));
    }

    /// Stops answering without closing anything: a black hole.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().pause();
    }

    /// Goes on.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().resume();
    }

    /// The certificate that signed the server's, which is for `localhost`.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn begin_on_a_free_port(&mut self) {
        // Between finding a port and using it another test may take it.
        for _ in 0..5 {
            self.port = TcpListener::bind(("127.0.0.1", 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            match self.begin() {
                Ok(process) => {
                    self.process = Some(process);
                    return;
                }
                Err(log) if log.to_lowercase().contains("address already in use") => {}
                Err(log) => panic!("{log}"),
            }
        }
        panic!("no free port");
    }

    fn begin(&self) -> Result<Process, String> {
        let dir = self.dir.path();
        let log = File::create(dir.join("log")).unwrap();
        let (command, ready, end) = self.command();
        let process = Process::start(command, log, ready, end).ok_or_else(|| self.log())?;
        std::fs::write(dir.join("running"), process.number()).unwrap();
        Ok(process)
    }

    /// Creates the user of the URLs, if initialising has not created it.
    fn create_user(&self) {
        if self.flavor == Flavor::MariaDb {
            self.sql("", &mariadb::account(USER, PASSWORD));
        }
    }

    /// Its command, what it logs when it takes connections, and the signal that ends it at
    /// once.
    fn command(&self) -> (Command, &'static str, Signal) {
        let dir = self.dir.path();
        match self.flavor {
            Flavor::Postgres => (
                postgres::server(dir, self.port, self.setup),
                postgres::READY,
                // Ends at once like a kill, but it releases the system's shared memory.
                Signal::QUIT,
            ),
            Flavor::MariaDb => (
                mariadb::server(dir, self.port, self.setup),
                mariadb::READY,
                Signal::KILL,
            ),
        }
    }

    fn make_certificate(&self) {
        let dir = self.dir.path();
        for arguments in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=test-authority -keyout authority.key -out authority.pem",
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
             -keyout server.key -out server.csr",
        ] {
            openssl(dir, &arguments.split_whitespace().collect::<Vec<_>>());
        }
        std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").unwrap();
        let sign = "x509 -req -in server.csr -CA authority.pem -CAkey authority.key \
                    -CAcreateserial -days 2 -extfile names -out server.pem";
        openssl(dir, &sign.split_whitespace().collect::<Vec<_>>());
        for file in ["server.key", "server.pem", "authority.pem"] {
            user::give(&dir.join(file), self.flavor.account());
        }
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Shared(path) => path,
        }
    }
}

impl Flavor {
    /// Makes the files of a server that has never run.
    fn initialise(self, dir: &Path) {
        match self {
            Self::Postgres => postgres::initialise(dir),
            Self::MariaDb => mariadb::initialise(dir),
        }
    }

    fn account(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mysql",
        }
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
}

/// Runs a command that has to succeed before the server can start.
fn run(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

//! A migrated database of one test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use herdsman::store::{SQLITE_FILE, Store};
use tempfile::TempDir;

use super::retried;
use herdsman_test_support::Chaos;
use herdsman_test_support::sql::{Flavor, Operator, Server, shared};

/// Which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
    MariaDb,
}

/// What a program wrote.
pub struct Backup {
    dir: TempDir,
    file: PathBuf,
}

/// A database that was made of a backup: an address, and a folder.
pub struct Restored {
    pub url: String,
    pub dir: TempDir,
}

impl Restored {
    pub async fn store(&self) -> Store {
        Store::open(&self.url, self.dir.path()).await.unwrap()
    }

    pub fn place_of_routers(&self) -> (String, PathBuf) {
        (self.url.clone(), self.dir.path().to_owned())
    }
}

/// In a file, or on a server.
pub struct Database {
    dir: TempDir,
    place: Place,
    /// Between the routers and the server.
    network: Option<Chaos>,
}

enum Place {
    File,
    /// Shared by the tests of one run.
    Shared(&'static Server, String),
    /// Of one test, which may kill it.
    Own(Box<Server>, String),
}

impl Database {
    pub async fn new(on: On) -> Self {
        let place = match flavor(on) {
            None => Place::File,
            Some(flavor) => {
                static NUMBER: AtomicU32 = AtomicU32::new(0);
                let number = NUMBER.fetch_add(1, Relaxed);
                let name = format!("spend_{}_{number}", std::process::id());
                let server = tokio::task::spawn_blocking(move || shared(flavor))
                    .await
                    .unwrap();
                server.create(&name);
                Place::Shared(server, name)
            }
        };
        Self::at(place).await
    }

    /// On a server that the test may kill and stop.
    pub async fn own(on: On) -> Self {
        let Some(flavor) = flavor(on) else {
            return Self::new(on).await;
        };
        let server = tokio::task::spawn_blocking(move || Server::start(flavor))
            .await
            .unwrap();
        server.create("spend");
        Self::at(Place::Own(Box::new(server), "spend".to_owned())).await
    }

    async fn at(place: Place) -> Self {
        let mut database = Self {
            dir: tempfile::tempdir().unwrap(),
            place,
            network: None,
        };
        if let Some(server) = database.server() {
            database.network = Some(Chaos::in_front_of(server.port()).await);
        }
        let store = database.directly().await;
        retried(async || store.migrate().await).await;
        database
    }

    /// Over the network that the test controls, if it is a server.
    pub async fn store(&self) -> Store {
        self.open(self.network.as_ref().map(Chaos::port)).await
    }

    /// For looking, whatever is broken.
    pub async fn directly(&self) -> Store {
        self.open(self.server().map(Server::port)).await
    }

    async fn open(&self, port: Option<u16>) -> Store {
        Store::open(&self.url(port), self.dir.path()).await.unwrap()
    }

    fn url(&self, port: Option<u16>) -> String {
        match &self.place {
            Place::File => String::new(),
            Place::Shared(server, name) => server.url_through(port.unwrap(), name),
            Place::Own(server, name) => server.url_through(port.unwrap(), name),
        }
    }

    /// Where routers in processes of their own find it: an address, and a folder.
    pub fn place_of_routers(&self) -> (String, PathBuf) {
        self.place_over(self.network.as_ref())
    }

    /// The same, over another network.
    pub fn place_over(&self, network: Option<&Chaos>) -> (String, PathBuf) {
        (
            self.url(network.map(Chaos::port)),
            self.dir.path().to_owned(),
        )
    }

    pub fn network(&self) -> &Chaos {
        self.network.as_ref().unwrap()
    }

    pub fn server(&self) -> Option<&Server> {
        match &self.place {
            Place::File => None,
            Place::Shared(server, _) => Some(server),
            Place::Own(server, _) => Some(server),
        }
    }

    /// The test's own server.
    pub fn server_mut(&mut self) -> &mut Server {
        match &mut self.place {
            Place::Own(server, _) => server,
            _ => panic!("nobody may kill what is shared"),
        }
    }

    /// Somebody with the server's own client program.
    pub fn operator(&self) -> Operator<'_> {
        match &self.place {
            Place::File => panic!("a file has no server"),
            Place::Shared(server, name) => Operator::of(server, name),
            Place::Own(server, name) => Operator::of(server, name),
        }
    }

    /// The file, held by somebody else until this is dropped: nobody can write.
    pub fn held(&self) -> SqliteConnection {
        let path = self.dir.path().join(SQLITE_FILE);
        let mut file = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        file.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
            .unwrap();
        file
    }

    /// Takes a backup with the database's own program, while routers write; of a file with these words.
    pub fn back_up(&self, of_file: &str) -> Backup {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(SQLITE_FILE);
        match &self.place {
            Place::File => {
                let words = of_file.replace("FILE", &file.display().to_string());
                let mut program = Command::new("sqlite3");
                program.arg(self.dir.path().join(SQLITE_FILE)).arg(words);
                let output = program.output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{said}");
            }
            Place::Shared(server, name) => server.back_up(name, &file),
            Place::Own(server, name) => server.back_up(name, &file),
        }
        Backup { dir, file }
    }

    /// Makes a database of it, beside this one.
    pub fn restored(&self, backup: Backup) -> Restored {
        let mut url = String::new();
        if let Some(server) = self.server() {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Relaxed);
            let name = format!("restored_{}_{number}", std::process::id());
            server.restore(&backup.file, &name);
            url = server.url(&name);
        }
        let dir = backup.dir;
        Restored { url, dir }
    }

    /// Asks the server itself.
    pub fn sql(&self, statement: &str) -> String {
        match &self.place {
            Place::File => panic!("a file has no server"),
            Place::Shared(server, name) => server.sql(name, statement),
            Place::Own(server, name) => server.sql(name, statement),
        }
    }
}

fn flavor(on: On) -> Option<Flavor> {
    match on {
        On::Sqlite => None,
        On::Postgres => Some(Flavor::Postgres),
        On::MariaDb => Some(Flavor::MariaDb),
    }
}

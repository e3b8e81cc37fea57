//! Backups, taken and restored with the server's own tools, as the page on databases says.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::{Flavor, Server, mariadb, postgres, run};

impl Server {
    /// Copies `database` into `file`, while it may be in use.
    pub fn back_up(&self, database: &str, file: &Path) {
        let mut dump = match self.flavor {
            Flavor::Postgres => self.postgres("pg_dump"),
            Flavor::MariaDb => mariadb::tool(self.dir.path(), "mariadb-dump"),
        };
        match self.flavor {
            Flavor::Postgres => dump.arg("--format=custom").arg("--file").arg(file),
            Flavor::MariaDb => dump
                .arg("--single-transaction")
                .stdout(File::create(file).unwrap()),
        };
        dump.arg(database);
        run(dump);
    }

    /// Makes the database `into` of that file.
    pub fn restore(&self, file: &Path, into: &str) {
        self.create(into);
        let mut restore = match self.flavor {
            Flavor::Postgres => self.postgres("pg_restore"),
            Flavor::MariaDb => mariadb::tool(self.dir.path(), "mariadb"),
        };
        match self.flavor {
            Flavor::Postgres => restore
                .args(["--single-transaction", "--no-owner", "--dbname", into])
                .arg(file),
            Flavor::MariaDb => restore.arg(into).stdin(File::open(file).unwrap()),
        };
        run(restore);
    }

    fn postgres(&self, program: &str) -> Command {
        postgres::tool(program, self.port)
    }
}

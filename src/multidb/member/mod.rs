//! One database and the way to it.

use crate::multidb::database::Database;

/// One database.
#[derive(Debug)]
pub struct Member {
    database: Database,
    hosts: Vec<String>,
    health_check_url: Option<String>,
}

impl Member {
    pub(in crate::multidb) fn database(&self) -> &Database {
        &self.database
    }

    pub(in crate::multidb) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(in crate::multidb) fn health_check_url(&self) -> Option<&str> {
        self.health_check_url.as_deref()
    }
}

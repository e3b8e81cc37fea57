//! The database as a health check sees it.

use std::sync::Arc;

use redis::{Cmd, RedisResult, Value};

use crate::multidb::database::Database;
use crate::multidb::member::Member;

/// One database, over connections of the health checks' own.
#[derive(Debug)]
pub struct HealthTarget {
    member: Arc<Member>,
}

impl HealthTarget {
    pub(in crate::multidb) fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// Which database.
    pub fn database(&self) -> &Database {
        self.member.database()
    }

    /// All hosts it was configured with, without ports: of a cluster its nodes, of a sentinel group
    /// the sentinels.
    pub fn hosts(&self) -> &[String] {
        self.member.hosts()
    }

    /// [`DatabaseConfig::health_check_url`](crate::multidb::DatabaseConfig::health_check_url).
    pub fn health_check_url(&self) -> Option<&str> {
        self.member.health_check_url()
    }

    /// Asks the server, or every node of the cluster.
    pub async fn ask_all(&self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        drop(cmd.clone());
        todo!()
    }
}

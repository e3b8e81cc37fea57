//! The database as a health check sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::database::Database;
use crate::member::{Member, Wire};

/// One database, over connections of the health checks' own.
///
/// A connection is kept from round to round and thrown away with the first error, so what a check
/// finds is never older than its probe: of a sentinel group, the next probe goes to the master of
/// that time.
#[derive(Debug)]
pub struct HealthTarget {
    member: Arc<Member>,
    tasks: TaskTracker,
    connection: ArcSwapOption<Connection>,
}

#[derive(Debug)]
struct Connection {
    wire: Wire,
    over: CancellationToken,
    _unused: DropGuard,
}

impl HealthTarget {
    pub(crate) fn new(member: Arc<Member>, tasks: TaskTracker) -> Self {
        Self {
            member,
            tasks,
            connection: ArcSwapOption::empty(),
        }
    }

    /// So much time to answer as shows that it is there, of `most` that a command has.
    pub(crate) fn short_timeout(&self, most: Duration) -> Duration {
        self.member.stats().short_timeout(most)
    }

    /// Which database.
    pub fn database(&self) -> &Database {
        self.member.database()
    }

    /// All hosts it was configured with, without ports: of a cluster its nodes, of a sentinel group
    /// the sentinels.
    pub fn hosts(&self) -> &[String] {
        self.member.dialer().hosts()
    }

    /// Whether it is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.member.dialer().is_cluster()
    }

    /// [`DatabaseConfig::health_check_url`](crate::DatabaseConfig::health_check_url).
    pub fn health_check_url(&self) -> Option<&str> {
        self.member.health_check_url()
    }

    /// Asks the server, or every node of the cluster. An error of the server is a value.
    pub async fn ask_all(&self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        let kept = self.connection.load_full();
        let connection = self.connect().await?;
        let answer = connection.wire.clone().ask_all(cmd).await;
        match &answer {
            Ok(_) => return answer,
            Err(_) => self.forget(),
        }
        // A connection of an earlier round may have ended since: that is not the database's fault,
        // unless the next one ends as well.
        let was_kept = kept.is_some_and(|kept| Arc::ptr_eq(&kept, &connection));
        if was_kept
            && answer
                .as_ref()
                .is_err_and(RedisError::is_connection_dropped)
        {
            let connection = self.connect().await?;
            return connection.wire.clone().ask_all(cmd).await;
        }
        answer
    }

    /// Makes the connection, if there is none.
    pub(crate) async fn prepare(&self) -> RedisResult<()> {
        self.connect().await.map(drop)
    }

    /// The next probe goes over a new connection.
    pub(crate) fn forget(&self) {
        self.connection.store(None);
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    async fn connect(&self) -> RedisResult<Arc<Connection>> {
        if let Some(connection) = self.connection.load_full()
            && !connection.over.is_cancelled()
        {
            return Ok(connection);
        }
        // A probe is given up by its own timeout, which is not known here.
        let dialed = self.member.dialer().connect(None).await?;
        let (over, unused) = (CancellationToken::new(), CancellationToken::new());
        let connection = Arc::new(Connection {
            wire: dialed.wire,
            over: over.clone(),
            _unused: unused.clone().drop_guard(),
        });
        if self.tasks.is_closed() {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.tasks.spawn(async move {
            unused.run_until_cancelled(dialed.driver).await;
            over.cancel();
        });
        self.connection.store(Some(Arc::clone(&connection)));
        Ok(connection)
    }
}

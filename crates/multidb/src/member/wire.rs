//! A connection, of whichever kind.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};

use super::cluster::ClusterWire;

/// A connection. Cloning shares it.
#[derive(Clone)]
pub(crate) enum Wire {
    Single(MultiplexedConnection),
    Cluster(ClusterWire),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Wire {
    /// One command. Not boxed for a single server: the caller's future is the only allocation.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => connection.send_packed_command(cmd).await,
            Self::Cluster(cluster) => cluster.send(cmd).await,
        }
    }

    /// A pipeline.
    pub(crate) async fn send_all(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => {
                connection
                    .send_packed_commands(pipeline, offset, count)
                    .await
            }
            Self::Cluster(cluster) => cluster.send_all(pipeline, offset, count).await,
        }
    }

    /// Asks the server, or every node of the cluster.
    pub(crate) async fn ask_all(&mut self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => Ok(vec![connection.send_packed_command(cmd).await?]),
            Self::Cluster(cluster) => cluster.ask_all(cmd).await,
        }
    }
}

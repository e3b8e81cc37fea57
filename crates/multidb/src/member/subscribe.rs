//! Connections for subscriptions: of their own, beside the one for commands.

use futures_util::future::{FutureExt, select_ok};
use redis::aio::{PubSub, SendError};
use redis::cluster_async::ClusterConnection;
use redis::{ConnectionInfo, ProtocolVersion, RedisResult};

use super::cluster;
use super::dial::{Dialer, Location, in_time};
use crate::pubsub::Push;

impl Dialer {
    /// A connection for subscriptions; of a cluster, to one of its nodes.
    pub(crate) async fn pubsub(&self) -> RedisResult<PubSub> {
        in_time(self.timeouts.connect, async {
            match &self.location {
                Location::Cluster { nodes, .. } => {
                    let tries = nodes.iter().map(|node| self.subscribe_at(node).boxed());
                    Ok(select_ok(tries).await?.0)
                }
                _ => self.subscribe_at(&self.locate().await?).await,
            }
        })
        .await
    }

    /// For sharded subscriptions: a cluster's connection over RESP3 that gives what it is pushed to
    /// `push`. `None` for a database that is no cluster.
    pub(crate) async fn shards(&self, push: Push) -> RedisResult<Option<ClusterConnection>> {
        let Location::Cluster {
            nodes,
            certificates,
        } = &self.location
        else {
            return Ok(None);
        };
        let (connect, response) = (self.timeouts.connect, Some(self.timeouts.response));
        in_time(connect, async {
            let client = cluster::builder(nodes, certificates.as_ref(), connect, response)
                .use_protocol(ProtocolVersion::RESP3)
                .push_sender(move |info| {
                    push(info);
                    Ok::<(), SendError>(())
                })
                // A subscription may be repeated, and must follow its slot.
                .retries(1)
                .build()?;
            client.get_async_connection().await.map(Some)
        })
        .await
    }

    async fn subscribe_at(&self, info: &ConnectionInfo) -> RedisResult<PubSub> {
        let stream = self.open(info).await?;
        PubSub::new(info.redis_settings(), stream).await
    }
}

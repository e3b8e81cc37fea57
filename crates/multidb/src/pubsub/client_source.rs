//! The hub's access to the databases of its client.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use redis::cluster_async::ClusterConnection;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Hub, Push, Settings, Source};
use crate::circuit::CircuitState;
use crate::config::MultiDbConfig;
use crate::database::DatabaseId;
use crate::error::Error;
use crate::event::Event;
use crate::views::Views;

impl Hub {
    /// The hub of a client with this configuration.
    pub(crate) fn of(
        config: &MultiDbConfig,
        views: &Arc<Views>,
        tasks: &TaskTracker,
        ended: CancellationToken,
    ) -> Self {
        Self::start(
            tasks,
            ended,
            views.active.subscribe(),
            Arc::new(ClientSource(Arc::clone(views))),
            Settings {
                open_timeout: config.connect_timeout,
                response_timeout: config.response_timeout,
                ping_interval: config.health_check_interval,
            },
        )
    }
}

/// What the hub may use of the client, without keeping the client alive.
pub(crate) struct ClientSource(pub(crate) Arc<Views>);

impl Source for ClientSource {
    fn open(&self, database: DatabaseId) -> BoxFuture<'static, Result<redis::aio::PubSub, Error>> {
        let member = self.0.member(database);
        async move {
            let member = member.ok_or(Error::UnknownDatabase(database))?;
            let opened = member.dialer().pubsub().await;
            opened.map_err(|source| Error::Connect {
                database: member.database().clone(),
                source,
            })
        }
        .boxed()
    }

    fn open_shards(
        &self,
        database: DatabaseId,
        push: Push,
    ) -> BoxFuture<'static, Result<Option<ClusterConnection>, Error>> {
        let member = self.0.member(database);
        async move {
            let member = member.ok_or(Error::UnknownDatabase(database))?;
            let opened = member.dialer().shards(push).await;
            opened.map_err(|source| Error::Connect {
                database: member.database().clone(),
                source,
            })
        }
        .boxed()
    }

    fn trusts(&self, database: DatabaseId) -> bool {
        let status = self.0.status.load();
        let status = status.database(database);
        status.is_some_and(|status| status.circuit == CircuitState::Closed)
    }

    fn emit(&self, event: Event) {
        self.0.emit(event);
    }
}

//! A connection that may not be established yet.
//!
//! A router starts whether or not Redis is there: what needs Redis gets an error until it is, and
//! does without it as it would later. Connecting is tried for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, Value};
use tokio_util::task::TaskTracker;

use crate::supervision::Backoff;

const RETRIES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// Clones share the connection, and when it is there.
#[derive(Debug)]
pub struct DeferredConnection<C>(Arc<ArcSwapOption<C>>);

impl<C> Clone for DeferredConnection<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> DeferredConnection<C> {
    /// Tries to connect once, and goes on trying in the background.
    pub async fn connect<F, E>(tracker: &TaskTracker, make: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
        E: std::fmt::Display + Send,
    {
        let deferred = Self(Arc::new(ArcSwapOption::empty()));
        match make().await {
            Ok(connection) => deferred.0.store(Some(Arc::new(connection))),
            Err(error) => {
                tracing::error!(%error, "Redis is not reachable; starting without it");
                let weak = Arc::downgrade(&deferred.0);
                tracker.spawn(async move {
                    for failures in 1.. {
                        let pause = RETRIES.delay(failures, fastrand::f64());
                        tokio::time::sleep(pause).await;
                        // All clones are dropped: nothing uses the connection.
                        let Some(slot) = weak.upgrade() else {
                            return;
                        };
                        if let Ok(connection) = make().await {
                            tracing::info!("connected to Redis");
                            slot.store(Some(Arc::new(connection)));
                            return;
                        }
                    }
                });
            }
        }
        deferred
    }

    /// The connection, once there is one.
    #[must_use]
    pub fn now(&self) -> Option<C> {
        self.0.load_full().map(|connection| (*connection).clone())
    }
}

fn not_yet() -> RedisError {
    RedisError::from((ErrorKind::Io, "not connected yet"))
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> ConnectionLike for DeferredConnection<C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let now = self.now();
        async move {
            let mut connection = now.ok_or_else(not_yet)?;
            connection.req_packed_command(command).await
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let now = self.now();
        async move {
            let mut connection = now.ok_or_else(not_yet)?;
            connection
                .req_packed_commands(commands, offset, count)
                .await
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.now().map_or(0, |connection| connection.get_db())
    }
}

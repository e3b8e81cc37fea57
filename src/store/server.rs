//! Connections to a database server, and the bounds on waiting for it.
//!
//! Two small pools, so that reports never delay a flush: connections that
//! write, and connections that read. Small, because a database has about a hundred connections for
//! everybody, and twenty routers may share it. They are made when needed, looked at before they are
//! handed out, and thrown away after any failure; so an outage of any length ends by itself, with
//! the first call after it.
//!
//! No call waits for ever, however the other side fails. The server ends what runs or waits too long
//! ([`STATEMENT_TIMEOUT`], [`LOCK_TIMEOUT`]) and what is left open ([`ABANDONED`]: a router that is
//! paused in the middle of a transaction holds its locks no longer than that). A server that says
//! nothing at all is given up by us, after [`Checkout::finish`]'s caller waited [`CALL_TIMEOUT`].

use std::future::Future;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use diesel_async::{AsyncConnection, SimpleAsyncConnection as _};
use tokio::time::timeout;

use super::error::Error;

/// One flush at a time, and beside it a call that prunes or changes an account.
const WRITERS: usize = 2;
/// Pages and reports.
const READERS: usize = 2;

/// To get a connection, a new one included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// To find out whether a connection that was used before is still alive.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// What one statement may take, by the server's clock.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// What it may wait for somebody else's lock, by the server's clock.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// An open transaction in which nothing happens is rolled back by the server after this.
pub(super) const ABANDONED: Duration = Duration::from_secs(15);
/// What a whole call may take, by ours.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// One kind of server: how to connect to it, and how to understand what it says.
pub(super) trait Kind: Send + Sync + 'static {
    /// The connection that diesel uses.
    type Connection: AsyncConnection + Send;
    /// The connection with what belongs to it.
    type Link: AsMut<Self::Connection> + Into<Self::Connection> + Send;

    fn connect(&self) -> impl Future<Output = Result<Self::Link, Error>> + Send;

    /// What `error`, the last thing that happened on `link`, means.
    fn classify(link: &mut Self::Link, error: Error) -> impl Future<Output = Error> + Send;
}

/// A server and the connections to it.
pub(super) struct Server<K: Kind> {
    writers: Pool<Links<K>>,
    readers: Pool<Links<K>>,
    kind: std::sync::Arc<K>,
}

/// A connection in use. Whoever drops it unfinished, because the call was cancelled, say, closes it.
pub(super) struct Checkout<K: Kind>(Option<Object<Links<K>>>);

impl<K: Kind> Server<K> {
    /// Connects to nothing yet.
    pub(super) fn new(kind: K) -> Result<Self, Error> {
        let kind = std::sync::Arc::new(kind);
        let pool = |size| {
            Pool::builder(Links(std::sync::Arc::clone(&kind)))
                .max_size(size)
                .build()
                .map_err(|error| Error::Unavailable(error.to_string()))
        };
        Ok(Self {
            writers: pool(WRITERS)?,
            readers: pool(READERS)?,
            kind,
        })
    }

    /// To write with.
    pub(super) async fn writer(&self) -> Result<Checkout<K>, Error> {
        checkout(&self.writers).await
    }

    /// To read with.
    pub(super) async fn reader(&self) -> Result<Checkout<K>, Error> {
        checkout(&self.readers).await
    }

    /// One outside the pools, for work that may take long.
    pub(super) async fn alone(&self) -> Result<K::Connection, Error> {
        Ok(connect(&*self.kind).await?.into())
    }
}

async fn checkout<K: Kind>(pool: &Pool<Links<K>>) -> Result<Checkout<K>, Error> {
    // Twice: the first may be spent on finding out that an old connection is broken.
    let object = within(CONNECT_TIMEOUT + PING_TIMEOUT, pool.get()).await?;
    Ok(Checkout(Some(object.map_err(unpooled)?)))
}

/// In a box: the handshakes are large, rare, and below every call to the database.
async fn connect<K: Kind>(kind: &K) -> Result<K::Link, Error> {
    within(CONNECT_TIMEOUT, Box::pin(kind.connect())).await?
}

fn unpooled(error: PoolError<Error>) -> Error {
    match error {
        PoolError::Backend(error) => error,
        other => Error::Unavailable(other.to_string()),
    }
}

/// `work`, or an error after `limit`.
pub(super) async fn within<F: Future>(limit: Duration, work: F) -> Result<F::Output, Error> {
    timeout(limit, work).await.map_err(|_| {
        Error::Unavailable(format!(
            "no answer within {}",
            humantime::format_duration(limit)
        ))
    })
}

impl<K: Kind> Checkout<K> {
    /// The connection that diesel uses.
    ///
    /// # Panics
    /// Never: only [`Self::finish`] empties it, and takes it away.
    pub(super) fn connection(&mut self) -> &mut K::Connection {
        let object = self.0.as_mut();
        let link: &mut K::Link = object.expect("it is emptied only when it is finished");
        link.as_mut()
    }

    /// Gives it back. Only a connection that did what it was told is used again.
    pub(super) async fn finish<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        let error = match outcome {
            Ok(value) => {
                drop(self.0.take());
                return Ok(value);
            }
            Err(error @ (Error::Query(_) | Error::Unavailable(_))) => error,
            Err(error) => return Err(error),
        };
        let Some(mut object) = self.0.take().map(Object::take) else {
            return Err(error);
        };
        Err(match error {
            Error::Query(_) => {
                match within(PING_TIMEOUT, Box::pin(K::classify(&mut object, error))).await {
                    Ok(classified) | Err(classified) => classified,
                }
            }
            other => other,
        })
    }
}

impl<K: Kind> Drop for Checkout<K> {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// How deadpool makes and looks at connections.
struct Links<K>(std::sync::Arc<K>);

impl<K: Kind> Manager for Links<K> {
    type Type = K::Link;
    type Error = Error;

    async fn create(&self) -> Result<K::Link, Error> {
        connect(&*self.0).await
    }

    async fn recycle(&self, link: &mut K::Link, _: &Metrics) -> RecycleResult<Error> {
        let alive = within(PING_TIMEOUT, link.as_mut().batch_execute("SELECT 1")).await;
        match alive {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(RecycleError::Backend(error.into())),
            Err(silent) => Err(RecycleError::Backend(silent)),
        }
    }
}

impl<K: Kind> std::fmt::Debug for Server<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("writers", &self.writers.status())
            .field("readers", &self.readers.status())
            .finish_non_exhaustive()
    }
}

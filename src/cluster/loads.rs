//! One load at a time on a server, whichever router causes it.
//!
//! Ollama loads one model after another, and a load may push another model out: two routers that have one server load
//! two models at once have it do both in vain. So a router takes the server's lock before a load, and gives it back
//! after it. It is advice with an end: a lock expires, and without Redis nobody has one and everybody goes on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::aio::ConnectionLike;
use redis::{RedisError, Script};
use tokio::time::timeout;

/// Ours already, or nobody's.
const TAKE: &str = "
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";
const GIVE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// A request that needs a load waits no longer for the lock.
const LIMIT: Duration = Duration::from_millis(300);

/// The servers' locks.
pub trait LoadLocks: Send + Sync {
    /// Takes that of `server` for so long. False when another router has it; without an answer it counts as taken.
    fn take(&self, server: &str, ttl: Duration) -> BoxFuture<'static, bool>;
    /// Gives it back.
    fn give(&self, server: &str) -> BoxFuture<'static, ()>;
}

/// Those in Redis.
#[derive(Clone, Debug)]
pub struct RedisLoadLocks<C> {
    connection: C,
    prefix: Arc<str>,
    me: Arc<str>,
    take: Arc<Script>,
    give: Arc<Script>,
}

impl<C> RedisLoadLocks<C> {
    /// Under `prefix`; `me` is this router's name.
    #[must_use]
    pub fn new(connection: C, prefix: &str, me: Arc<str>) -> Self {
        Self {
            connection,
            prefix: prefix.into(),
            me,
            take: Arc::new(Script::new(TAKE)),
            give: Arc::new(Script::new(GIVE)),
        }
    }

    fn key(&self, server: &str) -> String {
        format!("{}:load:{server}", self.prefix)
    }
}

impl<C> LoadLocks for RedisLoadLocks<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn take(&self, server: &str, ttl: Duration) -> BoxFuture<'static, bool> {
        let (this, key) = (self.clone(), self.key(server));
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        async move {
            let mut connection = this.connection;
            let mut script = this.take.prepare_invoke();
            script.key(key).arg(&*this.me).arg(ttl);
            let taken = timeout(LIMIT, script.invoke_async::<i64>(&mut connection)).await;
            !matches!(taken, Ok(Ok(0)))
        }
        .boxed()
    }

    fn give(&self, server: &str) -> BoxFuture<'static, ()> {
        let (this, key) = (self.clone(), self.key(server));
        async move {
            let mut connection = this.connection;
            let mut script = this.give.prepare_invoke();
            script.key(key).arg(&*this.me);
            // One that stays expires.
            let given: Result<Result<i64, RedisError>, _> =
                timeout(LIMIT, script.invoke_async(&mut connection)).await;
            drop(given);
        }
        .boxed()
    }
}

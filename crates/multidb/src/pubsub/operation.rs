//! Operations that run beside the hub's loop: each ends in bounded time, or when the connection
//! falls silent.
//!
//! Answers come over the same connection as messages and stand behind them. So a late answer from a
//! server that sends much does not mean that the connection is lost; silence does.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use redis::Value;
use redis::aio::PubSub;
use tokio::time::{sleep, timeout};

use super::listener::{ConnSender, SubscribeOutcome};
use super::topic::{Topic, TopicKind};
use super::{Settings, Source};
use crate::database::DatabaseId;

/// A database that is left because it failed has at most this long to send what it has.
const UNTRUSTED_LEAVE_TIMEOUT: Duration = Duration::from_millis(200);

/// Connects.
pub(super) fn open(
    source: &dyn Source,
    database: DatabaseId,
    settings: Settings,
) -> impl Future<Output = Result<PubSub, Arc<str>>> + use<> {
    timeout(settings.open_timeout, source.open(database)).map(|opened| match opened {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string().into()),
        Err(_) => Err("no connection in time".into()),
    })
}

/// Subscribes, and waits for the confirmation.
pub(super) async fn subscribe(
    mut conn_sender: ConnSender,
    source: Arc<dyn Source>,
    settings: Settings,
    topic: &Topic,
) -> SubscribeOutcome {
    let name = &topic.name[..];
    let mut limit = settings.response_timeout;
    let received_count = || conn_sender.received_count.load(Ordering::Relaxed);
    let asking: BoxFuture<'_, SubscribeOutcome> = match topic.kind {
        TopicKind::Channel => conn_sender
            .sink
            .subscribe(name)
            .map(SubscribeOutcome::of)
            .boxed(),
        TopicKind::Pattern => conn_sender
            .sink
            .psubscribe(name)
            .map(SubscribeOutcome::of)
            .boxed(),
        TopicKind::ShardChannel => {
            // It may have to connect first.
            limit += settings.open_timeout;
            conn_sender.shard_client.subscribe(&*source, name).boxed()
        }
    };
    unless_silent(asking, received_count, limit)
        .await
        .unwrap_or_else(|| SubscribeOutcome::Broken("no confirmation in time".into()))
}

/// Unsubscribes. Until it is confirmed, some messages may still come; they are not delivered.
pub(super) async fn unsubscribe(mut conn_sender: ConnSender, settings: Settings, topic: Topic) {
    let name = &topic.name[..];
    let telling: BoxFuture<'_, ()> = match topic.kind {
        TopicKind::Channel => conn_sender.sink.unsubscribe(name).map(drop).boxed(),
        TopicKind::Pattern => conn_sender.sink.punsubscribe(name).map(drop).boxed(),
        TopicKind::ShardChannel => conn_sender.shard_client.unsubscribe(name).boxed(),
    };
    drop(timeout(settings.response_timeout, telling).await);
}

/// Ends all subscriptions. The confirmation comes after the last message that the server has counted
/// as delivered, so publishers get a true count. A planned move waits for it as long as for any other
/// answer; a database that failed may never answer, and the next one's messages are held meanwhile.
pub(super) async fn leave(
    conn_sender: ConnSender,
    shards: Vec<Bytes>,
    settings: Settings,
    trusted: bool,
) {
    let (mut channels, mut patterns) = (conn_sender.sink.clone(), conn_sender.sink);
    let all: &[&str] = &[];
    let shards = shards
        .iter()
        .map(|name| conn_sender.shard_client.unsubscribe(name));
    let leaving = async {
        tokio::join!(
            channels.unsubscribe(all),
            patterns.punsubscribe(all),
            join_all(shards),
        )
    };
    let limit = if trusted {
        settings.response_timeout
    } else {
        settings.response_timeout.min(UNTRUSTED_LEAVE_TIMEOUT)
    };
    drop(timeout(limit, leaving).await);
}

/// Detects a lost connection that reports no error, and why.
pub(super) async fn watch(mut conn_sender: ConnSender, settings: Settings) -> Arc<str> {
    let received_count = || conn_sender.received_count.load(Ordering::Relaxed);
    let asking = async {
        loop {
            let before = received_count();
            sleep(settings.ping_interval).await;
            // A connection that receives needs no ping.
            if received_count() != before {
                continue;
            }
            let both = async {
                tokio::try_join!(
                    conn_sender.sink.ping::<Value>(),
                    conn_sender.shard_client.ping()
                )
            };
            match unless_silent(both, received_count, settings.response_timeout).await {
                None => return Arc::from("no answer in time"),
                // Any answer shows that the connection works, also a refusal.
                Some(Err(error)) if error.code().is_none() => return error.to_string().into(),
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        why = asking => why,
        () = conn_sender.shard_client.broken() => "a node of the cluster was lost, or a slot moved".into(),
    }
}

/// Waits for `answer` until nothing has come for as long as `limit`.
async fn unless_silent<T>(
    answer: impl Future<Output = T>,
    received_count: impl Fn() -> u64,
    limit: Duration,
) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let before = received_count();
        match timeout(limit, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if received_count() == before => return None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_traffic_does_not() {
        let began = Instant::now();
        assert_eq!(unless_silent(pending::<()>(), || 0, LIMIT).await, None);
        assert_eq!(began.elapsed(), LIMIT);
        // Something comes during the first three waits, nothing after that.
        let received_count = Cell::new(0);
        let traffic = || {
            received_count.set(received_count.get() + 1);
            received_count.get().min(6)
        };
        assert_eq!(unless_silent(pending::<()>(), traffic, LIMIT).await, None);
        assert_eq!(began.elapsed(), LIMIT * 5);
        let late = sleep(LIMIT * 5 / 2);
        let received_count = Cell::new(0);
        let traffic = || received_count.replace(received_count.get() + 1);
        assert_eq!(unless_silent(late, traffic, LIMIT).await, Some(()));
    }
}

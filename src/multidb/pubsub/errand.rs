//! What the hub has done for it while it goes on: each errand ends in bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use redis::Value;
use redis::aio::{PubSub, PubSubSink};
use tokio::time::{sleep, timeout};

use super::ear::Asked;
use super::shards::Line;
use super::topic::{Topic, TopicKind};
use super::{Settings, Source};
use crate::multidb::database::DatabaseId;

/// A heard leg that is left has at most this long to send what it has.
const FAREWELL: Duration = Duration::from_millis(200);

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
    mut sink: PubSubSink,
    line: Line,
    source: Arc<dyn Source>,
    settings: Settings,
    topic: &Topic,
) -> Asked {
    let name = &topic.name[..];
    let mut patience = settings.response_timeout;
    let asking: BoxFuture<'_, Asked> = match topic.kind {
        TopicKind::Channel => sink.subscribe(name).map(Asked::of).boxed(),
        TopicKind::Pattern => sink.psubscribe(name).map(Asked::of).boxed(),
        TopicKind::ShardChannel => {
            // It may have to connect first.
            patience += settings.open_timeout;
            line.subscribe(&*source, name).boxed()
        }
    };
    timeout(patience, asking)
        .await
        .unwrap_or_else(|_| Asked::Broken("no confirmation in time".into()))
}

/// Unsubscribes. Unconfirmed, some messages may still come, which nobody wants and nobody gets.
pub(super) async fn unsubscribe(
    mut sink: PubSubSink,
    line: Line,
    settings: Settings,
    topic: Topic,
) {
    let name = &topic.name[..];
    let telling: BoxFuture<'_, ()> = match topic.kind {
        TopicKind::Channel => sink.unsubscribe(name).map(drop).boxed(),
        TopicKind::Pattern => sink.punsubscribe(name).map(drop).boxed(),
        TopicKind::ShardChannel => line.unsubscribe(name).boxed(),
    };
    drop(timeout(settings.response_timeout, telling).await);
}

/// Ends all subscriptions. The confirmation comes after the last message the server has counted as
/// heard, so whoever publishes is told the truth.
pub(super) async fn leave(sink: PubSubSink, line: Line, shards: Vec<Bytes>, settings: Settings) {
    let (mut channels, mut patterns) = (sink.clone(), sink);
    let all: &[&str] = &[];
    let shards = shards.iter().map(|name| line.unsubscribe(name));
    let leaving = async {
        tokio::join!(
            channels.unsubscribe(all),
            patterns.punsubscribe(all),
            join_all(shards),
        )
    };
    let patience = settings.response_timeout.min(FAREWELL);
    drop(timeout(patience, leaving).await);
}

/// Finds out that a connection is dead although nothing has said so, and why. `pulse` beats with
/// whatever comes over it: who talks need not be asked whether he lives, and does not answer in time
/// when the answer stands behind much that he has to say.
pub(super) async fn watch(
    mut sink: PubSubSink,
    line: Line,
    pulse: Arc<AtomicU64>,
    settings: Settings,
) -> Arc<str> {
    let beats = || pulse.load(Ordering::Relaxed);
    let asking = async {
        let mut before = beats();
        loop {
            sleep(settings.ping_interval).await;
            let now = beats();
            if std::mem::replace(&mut before, now) != now {
                continue;
            }
            let both = async { tokio::try_join!(sink.ping::<Value>(), line.ping()) };
            match timeout(settings.response_timeout, both).await {
                Err(_) if beats() == now => return Arc::from("no answer in time"),
                // Any answer is a sign of life, also that it may not be asked.
                Ok(Err(error)) if error.code().is_none() => return error.to_string().into(),
                _ => {}
            }
        }
    };
    tokio::select! {
        why = asking => why,
        () = line.broken() => "a node of the cluster was lost, or a slot moved".into(),
    }
}

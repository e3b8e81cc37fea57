//! What the hub has done for it while it goes on: each errand ends in bounded time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use redis::Value;
use redis::aio::{PubSub, PubSubSink};
use tokio::time::{sleep, timeout};

use super::ear::Asked;
use super::shards::Line;
use super::topic::{Topic, TopicKind};
use super::{Settings, Source};
use crate::multidb::database::DatabaseId;

/// A heard leg that is to be left has at most this long to send what it has.
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

/// Waits until everything the server has sent so far has arrived: the answer comes after it.
pub(super) async fn leave(mut sink: PubSubSink, settings: Settings) {
    let patience = settings.response_timeout.min(FAREWELL);
    drop(timeout(patience, sink.ping::<Value>()).await);
}

/// Finds out that a connection is dead although nothing has said so, and why.
pub(super) async fn watch(mut sink: PubSubSink, line: Line, settings: Settings) -> Arc<str> {
    let asking = async {
        loop {
            sleep(settings.ping_interval).await;
            let both = async { tokio::try_join!(sink.ping::<Value>(), line.ping()) };
            match timeout(settings.response_timeout, both).await {
                Err(_) => return Arc::from("no answer in time"),
                // Any answer is a sign of life, also that it may not be asked.
                Ok(Err(error)) if error.code().is_none() => return error.to_string().into(),
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        why = asking => why,
        () = line.broken() => "a node of the cluster was lost, or a slot moved".into(),
    }
}

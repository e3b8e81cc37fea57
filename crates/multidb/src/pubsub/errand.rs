//! What the hub has done for it while it goes on: each errand ends in bounded time, or as long as the
//! connection talks.
//!
//! Answers come over the same connection as messages and stand behind them. So a late answer from a
//! server that has much to say is no sign of death; silence is.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use redis::Value;
use redis::aio::PubSub;
use tokio::time::{sleep, timeout};

use super::ear::{Asked, Voice};
use super::topic::{Topic, TopicKind};
use super::{Settings, Source};
use crate::database::DatabaseId;

/// A database that is left because it failed has at most this long to send what it has.
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
    mut voice: Voice,
    source: Arc<dyn Source>,
    settings: Settings,
    topic: &Topic,
) -> Asked {
    let name = &topic.name[..];
    let mut patience = settings.response_timeout;
    let beats = || voice.pulse.load(Ordering::Relaxed);
    let asking: BoxFuture<'_, Asked> = match topic.kind {
        TopicKind::Channel => voice.sink.subscribe(name).map(Asked::of).boxed(),
        TopicKind::Pattern => voice.sink.psubscribe(name).map(Asked::of).boxed(),
        TopicKind::ShardChannel => {
            // It may have to connect first.
            patience += settings.open_timeout;
            voice.line.subscribe(&*source, name).boxed()
        }
    };
    unless_silent(asking, beats, patience)
        .await
        .unwrap_or_else(|| Asked::Broken("no confirmation in time".into()))
}

/// Unsubscribes. Unconfirmed, some messages may still come, which nobody wants and nobody gets.
pub(super) async fn unsubscribe(mut voice: Voice, settings: Settings, topic: Topic) {
    let name = &topic.name[..];
    let telling: BoxFuture<'_, ()> = match topic.kind {
        TopicKind::Channel => voice.sink.unsubscribe(name).map(drop).boxed(),
        TopicKind::Pattern => voice.sink.punsubscribe(name).map(drop).boxed(),
        TopicKind::ShardChannel => voice.line.unsubscribe(name).boxed(),
    };
    drop(timeout(settings.response_timeout, telling).await);
}

/// Ends all subscriptions. The confirmation comes after the last message the server has counted as
/// heard, so whoever publishes is told the truth. A database that is left by plan is waited for like
/// in every other question; one that failed may never answer, and others have something to say.
pub(super) async fn leave(voice: Voice, shards: Vec<Bytes>, settings: Settings, trusted: bool) {
    let (mut channels, mut patterns) = (voice.sink.clone(), voice.sink);
    let all: &[&str] = &[];
    let shards = shards.iter().map(|name| voice.line.unsubscribe(name));
    let leaving = async {
        tokio::join!(
            channels.unsubscribe(all),
            patterns.punsubscribe(all),
            join_all(shards),
        )
    };
    let patience = if trusted {
        settings.response_timeout
    } else {
        settings.response_timeout.min(FAREWELL)
    };
    drop(timeout(patience, leaving).await);
}

/// Finds out that a connection is dead although nothing has said so, and why.
pub(super) async fn watch(mut voice: Voice, settings: Settings) -> Arc<str> {
    let beats = || voice.pulse.load(Ordering::Relaxed);
    let asking = async {
        loop {
            let before = beats();
            sleep(settings.ping_interval).await;
            // Who talks need not be asked whether he lives.
            if beats() != before {
                continue;
            }
            let both = async { tokio::try_join!(voice.sink.ping::<Value>(), voice.line.ping()) };
            match unless_silent(both, beats, settings.response_timeout).await {
                None => return Arc::from("no answer in time"),
                // Any answer is a sign of life, also that it may not be asked.
                Some(Err(error)) if error.code().is_none() => return error.to_string().into(),
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        why = asking => why,
        () = voice.line.broken() => "a node of the cluster was lost, or a slot moved".into(),
    }
}

/// Waits for `answer` until nothing has come for as long as `patience`.
async fn unless_silent<T>(
    answer: impl Future<Output = T>,
    beats: impl Fn() -> u64,
    patience: Duration,
) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let before = beats();
        match timeout(patience, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if beats() == before => return None,
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

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_talk_does_not() {
        let began = Instant::now();
        assert_eq!(unless_silent(pending::<()>(), || 0, PATIENCE).await, None);
        assert_eq!(began.elapsed(), PATIENCE);
        // Something comes during the first three waits, nothing after that.
        let beats = Cell::new(0);
        let talk = || {
            beats.set(beats.get() + 1);
            beats.get().min(6)
        };
        assert_eq!(unless_silent(pending::<()>(), talk, PATIENCE).await, None);
        assert_eq!(began.elapsed(), PATIENCE * 5);
        let late = sleep(PATIENCE * 5 / 2);
        let beats = Cell::new(0);
        let talk = || beats.replace(beats.get() + 1);
        assert_eq!(unless_silent(late, talk, PATIENCE).await, Some(()));
    }
}

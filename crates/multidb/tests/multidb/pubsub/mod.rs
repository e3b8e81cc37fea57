//! Subscriptions over real Redis: a subscriber receives everything of one database, then of the next,
//! and an announcement of every gap.

mod kinds;
mod moves;
mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use herdsman_multidb::{Gap, Item, MultiDbConfig, PubSub};
use redis::{AsyncConnectionConfig, Client, cmd};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use herdsman_test_support::TEST_TIMEOUT;
use herdsman_test_support::redis::Server;

/// Nothing is detected, however slow the machine: for switches that the test makes itself.
fn calm(config: MultiDbConfig) -> MultiDbConfig {
    config
        .response_timeout(TEST_TIMEOUT)
        .connect_timeout(TEST_TIMEOUT)
        .health_check_timeout(TEST_TIMEOUT)
        .health_check_interval(Duration::from_secs(3600))
}

/// The next item.
async fn next(listener: &mut PubSub) -> Item {
    timeout(TEST_TIMEOUT, listener.recv())
        .await
        .expect("an item")
        .expect("a stream that goes on")
}

/// The next item is this message.
async fn receives(listener: &mut PubSub, payload: &str) {
    let item = next(listener).await;
    let message = item.message().unwrap_or_else(|| panic!("{item:?}"));
    assert_eq!(message.payload(), Ok(payload));
}

/// The next item is a gap.
async fn next_gap(listener: &mut PubSub) -> Gap {
    match next(listener).await {
        Item::Gap(gap) => gap,
        item => panic!("{item:?}"),
    }
}

/// The stream is interrupted. There may be a gap before it: a database that is in trouble may cease
/// to be the active one, and become it again.
async fn interrupted(listener: &mut PubSub) {
    loop {
        match next(listener).await {
            Item::Interrupted { .. } => return,
            Item::Gap(_) => {}
            item => panic!("{item:?}"),
        }
    }
}

/// The next message is this one, whatever was announced before it.
async fn receives_again(listener: &mut PubSub, payload: &str) {
    loop {
        let item = next(listener).await;
        if let Some(message) = item.message() {
            assert_eq!(message.payload(), Ok(payload));
            return;
        }
        assert!(matches!(item, Item::Gap(_)), "{item:?}");
    }
}

/// Publishes, and returns how many received it.
async fn publish(server: &Server, channel: &str, payload: &str) -> u64 {
    let publish = format!("PUBLISH {channel} {payload}");
    server.ask(&publish).await.expect("a published message")
}

/// How many connections of a server are subscribed to a channel.
async fn subscribers(server: &Server, channel: &str) -> u64 {
    let question = format!("PUBSUB NUMSUB {channel}");
    let (_, count): (String, u64) = server.ask(&question).await.expect("a count");
    count
}

/// Publishes `{name}:0`, `{name}:1` and so on, as fast as the server takes them.
struct Flood {
    published: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Flood {
    fn on(server: &Server, channel: &'static str, name: &'static str) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let published = Arc::new(AtomicU64::new(0));
        let (url, stopped, counted) = (server.url(), stop.clone(), Arc::clone(&published));
        tasks.spawn(async move {
            let client = Client::open(url).expect("an address");
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(TEST_TIMEOUT))
                .set_response_timeout(Some(TEST_TIMEOUT));
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await.expect("a connection");
            while !stopped.is_cancelled() {
                let payload = format!("{name}:{}", counted.load(Ordering::SeqCst));
                let publish = cmd("PUBLISH").arg(channel).arg(payload).to_owned();
                let published = publish.exec_async(&mut connection).await;
                published.expect("a published message");
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        tasks.close();
        Self {
            published,
            stop,
            tasks,
        }
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    /// Says how many were published.
    async fn stop(self) -> u64 {
        self.stop.cancel();
        self.tasks.wait().await;
        self.published()
    }
}

//! A master, its replica, and the sentinels that watch them: quick ones, which find a master down
//! after a second and usually promote the replica a second later.

use super::{Plan, Server};
use crate::waiting::becomes_true;

/// Name of the watched group.
const NAME: &str = "mymaster";

/// Killed when dropped.
#[derive(Debug)]
pub struct SentinelGroup {
    /// The first is the master to begin with.
    pub servers: [Server; 2],
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl SentinelGroup {
    /// Starts the group with so many sentinels, and waits until they know one another and the
    /// replica follows.
    pub async fn start(sentinels: usize) -> Self {
        let master = Plan::new().durable().start().await;
        let replica = Plan::new()
            .durable()
            .set("replicaof", &format!("127.0.0.1 {}", master.port()))
            .start()
            .await;
        let quorum = sentinels / 2 + 1;
        let mut watchers = Vec::new();
        for _ in 0..sentinels {
            let plan = Plan::new()
                .sentinel()
                .set(
                    "sentinel monitor",
                    &format!("{NAME} 127.0.0.1 {} {quorum}", master.port()),
                )
                .set("sentinel down-after-milliseconds", &format!("{NAME} 1000"))
                .set("sentinel failover-timeout", &format!("{NAME} 5000"));
            let sentinel = plan.start().await;
            // It asks a few times as often as usual, and no oftener: what it knows of a replica is
            // stale after five pings, and a stale replica is not promoted; and a new master the
            // others have not heard of within four hellos is made a replica again.
            sentinel
                .run("SENTINEL DEBUG info-period 300 ping-period 200 ask-period 100 publish-period 500 election-timeout 500")
                .await;
            watchers.push(sentinel);
        }
        let group = Self {
            servers: [master, replica],
            sentinels: watchers,
        };
        group.complete().await;
        group
    }

    /// The name clients ask for.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The sentinels' addresses.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// The port of the master, as the first sentinel knows it.
    ///
    /// # Panics
    /// When the sentinel cannot be asked.
    pub async fn master(&self) -> u16 {
        let address = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
        let (_, port): (String, u16) = self.sentinels[0].ask(&address).await.expect("a master");
        port
    }

    /// Waits until the first master has been told that it is one no longer. Until then it takes
    /// writes that will be lost, which no client can detect.
    pub async fn demoted(&self) {
        let demoted =
            becomes_true(async || self.servers[0].info("role").await.as_deref() == Some("slave"));
        assert!(
            demoted.await,
            "the master is never demoted\n{}",
            self.logs()
        );
    }

    /// Waits until the sentinels have made the other one master.
    pub async fn promoted(&self) {
        let [_, replica] = &self.servers;
        let promoted = becomes_true(async || {
            self.master().await == replica.port()
                && replica.info("role").await.as_deref() == Some("master")
        })
        .await;
        assert!(promoted, "the replica is never promoted\n{}", self.logs());
    }

    async fn complete(&self) {
        let others = format!("num-other-sentinels\n{}\n", self.sentinels.len() - 1);
        let complete = becomes_true(async || {
            for sentinel in &self.sentinels {
                let Ok(facts) = sentinel
                    .ask::<Vec<String>>(&format!("SENTINEL MASTER {NAME}"))
                    .await
                else {
                    return false;
                };
                let facts = facts.join("\n") + "\n";
                let replicas: Vec<Vec<String>> = sentinel
                    .ask(&format!("SENTINEL REPLICAS {NAME}"))
                    .await
                    .unwrap_or_default();
                let replicas = replicas.concat().join("\n") + "\n";
                let complete = facts.contains(&others)
                    && replicas.contains("flags\nslave\n")
                    && replicas.contains("master-link-status\nok\n");
                if !complete {
                    return false;
                }
            }
            let link = self.servers[1].info("master_link_status").await;
            link.as_deref() == Some("up")
        })
        .await;
        assert!(
            complete,
            "the sentinels do not know the group\n{}",
            self.logs()
        );
    }

    fn logs(&self) -> String {
        self.sentinels.iter().map(Server::log).collect()
    }
}

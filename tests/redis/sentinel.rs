//! A master, its replica, and the sentinels that watch them: quick ones, which find a master dead
//! after a fifth of a second and promote the replica within about two.

use super::{Plan, Server, eventually};

/// Name of the watched group.
const NAME: &str = "mymaster";

/// Killed when dropped.
#[derive(Debug)]
pub struct SentinelGroup {
    /// The first is the master to begin with.
    pub servers: [Server; 2],
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
                .set("sentinel down-after-milliseconds", &format!("{NAME} 200"))
                .set("sentinel failover-timeout", &format!("{NAME} 2000"));
            let sentinel = plan.start().await;
            // How often it asks, for how long it waits before it goes on: a tenth of the ordinary.
            sentinel
                .run("SENTINEL DEBUG info-period 200 ping-period 50 ask-period 100 publish-period 100 election-timeout 500")
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

    /// Waits until the sentinels have made the other one master.
    pub async fn promoted(&self) {
        let [_, replica] = &self.servers;
        eventually("the replica is promoted", async || {
            self.master().await == replica.port()
                && replica.info("role").await.as_deref() == Some("master")
        })
        .await;
    }

    async fn complete(&self) {
        let others = format!("num-other-sentinels\n{}\n", self.sentinels.len() - 1);
        eventually("the sentinels know the group", async || {
            for sentinel in &self.sentinels {
                let Ok(facts) = sentinel
                    .ask::<Vec<String>>(&format!("SENTINEL MASTER {NAME}"))
                    .await
                else {
                    return false;
                };
                let facts = facts.join("\n") + "\n";
                if !(facts.contains("num-slaves\n1\n") && facts.contains(&others)) {
                    return false;
                }
            }
            let link = self.servers[1].info("master_link_status").await;
            link.as_deref() == Some("up")
        })
        .await;
    }
}

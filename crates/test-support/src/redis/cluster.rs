//! A Redis Cluster of masters, put together by hand as `redis-cli --cluster create` would.

use super::{Plan, Server};
use crate::{Port, eventually};

/// Hash slots a cluster has.
const SLOTS: u16 = 16_384;

/// A slot on its way from one node to another.
#[derive(Debug)]
pub struct Move<'a> {
    cluster: &'a Cluster,
    slot: u16,
    pub old: &'a Server,
    pub new: &'a Server,
    new_id: String,
}

impl Move<'_> {
    /// Migrates one key.
    pub async fn migrate(&self, key: &str) {
        let port = self.new.port();
        self.old
            .run(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"))
            .await;
    }

    /// The slot is the new node's, and every node knows it.
    pub async fn finish(self) {
        let order = format!("CLUSTER SETSLOT {} NODE {}", self.slot, self.new_id);
        self.new.run(&order).await;
        for node in &self.cluster.nodes {
            node.run(&order).await;
        }
    }
}

async fn id(node: &Server) -> String {
    node.ask("CLUSTER MYID").await.expect("an id")
}

/// Masters that share all slots. Killed when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The masters.
    pub nodes: Vec<Server>,
    _buses: Vec<Port>,
}

impl Cluster {
    /// Starts `masters` nodes and waits until each of them serves.
    pub async fn start(masters: u16) -> Self {
        let buses: Vec<_> = (0..masters).map(|_| Port::free()).collect();
        let mut nodes = Vec::new();
        for bus in &buses {
            let plan = Plan::new()
                .durable()
                .set("cluster-enabled", "yes")
                .set("cluster-port", &bus.number().to_string())
                .set("cluster-node-timeout", "1000");
            nodes.push(plan.start().await);
        }
        for (i, node) in (1..).zip(&nodes) {
            node.run(&format!("CLUSTER SET-CONFIG-EPOCH {i}")).await;
        }
        let share = SLOTS / masters;
        for (i, node) in (0..masters).zip(&nodes) {
            let last = if i + 1 == masters {
                SLOTS - 1
            } else {
                (i + 1) * share - 1
            };
            node.run(&format!("CLUSTER ADDSLOTSRANGE {} {last}", i * share))
                .await;
            for (other, bus) in nodes.iter().zip(&buses).skip(usize::from(i) + 1) {
                let (port, bus) = (other.port(), bus.number());
                node.run(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"))
                    .await;
            }
        }
        let cluster = Self {
            nodes,
            _buses: buses,
        };
        cluster.serves().await;
        cluster
    }

    /// The addresses that a client may start with.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// Waits until every node knows all the others and finds the cluster whole.
    pub async fn serves(&self) {
        eventually("the cluster serves", async || {
            for node in &self.nodes {
                let Ok(info) = node.ask::<String>("CLUSTER INFO").await else {
                    return false;
                };
                let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
                if !(info.contains("cluster_state:ok") && info.contains(&known)) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Ends every node.
    pub fn kill(&self) {
        self.nodes.iter().for_each(Server::kill);
    }

    /// Begins to give the slot of `key` to another node: keys that are not there any more are asked
    /// for at the new one.
    pub async fn begin_move(&self, key: &str) -> Move<'_> {
        let slot: u16 = self.nodes[0]
            .ask(&format!("CLUSTER KEYSLOT {key}"))
            .await
            .expect("a slot");
        let share = SLOTS / u16::try_from(self.nodes.len()).expect("a small cluster");
        let from = usize::from(slot / share).min(self.nodes.len() - 1);
        let (old, new) = (
            &self.nodes[from],
            &self.nodes[(from + 1) % self.nodes.len()],
        );
        let (old_id, new_id) = (id(old).await, id(new).await);
        new.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {old_id}"))
            .await;
        old.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {new_id}"))
            .await;
        let cluster = self;
        Move {
            cluster,
            slot,
            old,
            new,
            new_id,
        }
    }

    /// The value of a key, wherever it is; 0 when it is nowhere.
    pub async fn number(&self, key: &str) -> i64 {
        for node in &self.nodes {
            if let Ok(value) = node.ask::<Option<i64>>(&format!("GET {key}")).await {
                return value.unwrap_or(0);
            }
        }
        panic!("no node has the slot of {key}");
    }
}

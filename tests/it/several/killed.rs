//! Everything is killed in turn, with `kill -9`: each router, each agent, the database, Redis, each server.
//!
//! With the defaults of the program, so that what is measured is what operators have.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::clients::{Clients, Retries};
use super::{Agent, Herd, Simulated, comes_true, measured};

const CLIENTS: usize = 64;
/// An agent that was killed is missed after its term, which is 10 s, and the second in which routers read that; and
/// whatever a loaded machine makes of these.
const AGENT_MISSED: Duration = Duration::from_secs(14);

fn server() -> Simulated {
    Simulated::start(&[
        "--load",
        "10ms",
        "--predict",
        "24",
        "--decode-interval",
        "8ms",
        "--parallel",
        "32",
    ])
}

fn named(n: usize) -> String {
    format!("gpu-{n}")
}

/// Servers that a router lists, by name, with their phases.
fn phase<'a>(endpoints: &'a Value, name: &str) -> &'a str {
    let all = endpoints["endpoints"].as_array();
    let mut all = all.into_iter().flatten();
    let found = all.find(|endpoint| endpoint["name"] == name);
    found.map_or("gone", |endpoint| endpoint["phase"].as_str().unwrap())
}

impl Herd {
    async fn all_show(&self, server: usize, expected: &[&str]) -> Duration {
        let name = named(server);
        let what = format!("{name} is {expected:?}");
        let is = |said: &Value| expected.contains(&phase(said, &name));
        self.all_say(&what, "/admin/endpoints", is).await
    }

    async fn each_router_dies(&mut self, clients: &Clients) {
        for n in 0..self.routers.len() {
            clients.phase("a router");
            self.routers[n].kill();
            measured(
                "a router killed: every client is served",
                clients.are_served().await,
            );
            let began = Instant::now();
            self.routers[n].start();
            self.routers[n].is_ready(&self.http).await;
            measured("  started again: it is ready", began.elapsed());
            clients.are_served().await;
        }
    }

    async fn each_agent_dies(&self, clients: &Clients, agents: &mut [Agent]) {
        for (n, agent) in agents.iter_mut().enumerate() {
            clients.phase("an agent");
            agent.kill();
            // One is away for long enough to be missed.
            if n == 0 {
                let missed = self.all_show(n, &["gone", "draining"]).await;
                measured("an agent killed: no router uses its server", missed);
                assert!(missed < AGENT_MISSED, "{missed:?}");
            }
            let began = Instant::now();
            agent.restart();
            let incarnation = |said: &Value| {
                let agents = said["agents"].as_array().unwrap();
                let mut agents = agents.iter().filter(|agent| agent["name"] == *named(n));
                agents.any(|agent| agent["incarnation"] == 2 && agent["alive"] == true)
            };
            self.all_say("it is there again", "/admin/cluster", incarnation)
                .await;
            self.all_show(n, &["up"]).await;
            measured("  started again: every router uses it", began.elapsed());
        }
        clients.are_served().await;
    }

    async fn the_database_dies(&mut self, clients: &Clients) {
        clients.phase("the database");
        self.database.kill();
        let available = |is: bool| move |said: &Value| said["registry"]["available"] == is;
        let noticed = self
            .all_say("it is missed", "/admin/cluster", available(false))
            .await;
        measured("the database killed: every router says so", noticed);
        // Longer than a term would be worth: see sharing.rs. Here it is that nobody notices.
        measured(
            "  meanwhile: every client is served",
            clients.are_served().await,
        );
        let began = Instant::now();
        self.database.restart();
        self.all_say("it is back", "/admin/cluster", available(true))
            .await;
        measured("  started again: every router reads it", began.elapsed());
        self.is_written_to(clients).await;
        measured("  and has written to it", began.elapsed());
    }

    async fn redis_dies(&self, clients: &Clients) {
        clients.phase("Redis");
        let circuit =
            |state: &'static str| move |said: &Value| said["databases"][0]["circuit"] == state;
        self.redis.kill();
        let noticed = self
            .all_say("it is missed", "/admin/redis", circuit("open"))
            .await;
        measured("Redis killed: every router knows", noticed);
        measured(
            "  meanwhile: every client is served",
            clients.are_served().await,
        );
        let began = Instant::now();
        // It has forgotten everything.
        self.redis.restart().await;
        self.all_say("it is back", "/admin/redis", circuit("closed"))
            .await;
        measured("  started again: every router uses it", began.elapsed());
        clients.are_served().await;
    }

    async fn each_server_dies(&self, clients: &Clients, servers: &mut [Simulated]) {
        for (n, server) in servers.iter_mut().enumerate() {
            clients.phase("a server");
            server.kill();
            let noticed = self.all_show(n, &["down"]).await;
            measured("a server killed: no router uses it", noticed);
            measured("  and every client is served", clients.are_served().await);
            let began = Instant::now();
            server.restart();
            self.all_show(n, &["up"]).await;
            measured("  started again: every router uses it", began.elapsed());
        }
    }

    /// Something that is answered from now on gets into the database.
    async fn is_written_to(&self, clients: &Clients) {
        let sum = "SELECT sum(requests) FROM spend WHERE kind = 'tag'";
        let before = self.database.sql(super::DATABASE, sum);
        clients.are_served().await;
        comes_true("it is written to", async || {
            self.database.sql(super::DATABASE, sum) != before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_no_request_is_lost_that_something_alive_could_serve() {
    let mut servers: Vec<Simulated> = (0..3).map(|_| server()).collect();
    // Every server has an agent: the one that is named does not exist.
    let lines = "[[endpoint]]\nurl = \"http://127.0.0.1:1\"\nname = \"nobody\"\n";
    let mut herd = Herd::new().await.with_routers(2, "", lines);
    herd.start().await;
    let urls = herd.urls();
    let agent = |(n, server)| Agent::start(&named(n), server, &urls, herd.folder());
    let mut agents: Vec<Agent> = servers.iter().enumerate().map(agent).collect();
    for n in 0..agents.len() {
        herd.all_show(n, &["up"]).await;
    }
    let clients = Clients::start(CLIENTS, &urls, Retries::Unanswered);
    clients.are_served().await;

    herd.each_router_dies(&clients).await;
    herd.each_agent_dies(&clients, &mut agents).await;
    herd.the_database_dies(&clients).await;
    herd.redis_dies(&clients).await;
    herd.each_server_dies(&clients, &mut servers).await;

    clients.phase("after");
    clients.are_served().await;
    let seen = clients.stop().await;
    let mut lost = seen.missed.iter().filter(|missed| {
        // An answer that had begun ends with the router or the server that gave it, and with nothing else.
        !missed.begun || !["a router", "a server"].contains(&&*missed.phase)
    });
    assert!(lost.next().is_none(), "{:#?}", seen.missed);
    for (phase, longest) in &seen.longest {
        measured(&format!("longest wait for a first byte: {phase}"), *longest);
    }
    herd.must_have_counted(&seen).await;
    let answered = seen.answered();
    assert!(answered > 1_000, "the load was too small: {answered}");
    assert!(seen.moved > 0, "nobody noticed that routers were killed");
}

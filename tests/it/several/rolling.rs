//! All routers are restarted in turn under load, as for an upgrade: no request fails, however clients find them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use herdsman_test_support::Port;
use herdsman_test_support::clients::last_release;
use tokio::time::Instant;

use super::clients::{Clients, Retries, Seen};
use super::{Herd, Simulated, comes_true, measured};
use crate::deployed::haproxy;
use crate::support::Program;

/// Names the commit of the last release.
const LAST_RELEASE: &str = include_str!("../../last-release");

fn servers() -> Vec<Simulated> {
    let server = || {
        Simulated::start(&[
            "--load",
            "10ms",
            "--predict",
            "40",
            "--decode-interval",
            "10ms",
            "--parallel",
            "64",
        ])
    };
    vec![server(), server()]
}

fn endpoints(servers: &[Simulated]) -> String {
    let endpoints = servers.iter().enumerate().map(|(n, server)| {
        let url = server.url();
        format!("[[endpoint]]\nurl = \"{url}\"\nname = \"gpu-{n}\"\nslots = 64\n")
    });
    endpoints.collect()
}

/// HAProxy that knows nothing of HTTP but how to ask whether a router is ready.
fn balancer(at: SocketAddr, routers: &[SocketAddr], dir: &Path) -> Program {
    let mut config = format!(
        "defaults\n mode tcp\n retries 3\n option redispatch 1\n timeout connect 1s\n timeout client 31m\n \
         timeout server 31m\nfrontend ollama\n bind {at}\n default_backend routers\nbackend routers\n \
         balance roundrobin\n option httpchk\n http-check send meth GET uri /health/ready\n \
         default-server check inter 500ms fall 2 rise 1\n"
    );
    for (n, router) in routers.iter().enumerate() {
        config += &format!(" server router-{n} {router}\n");
    }
    let file = dir.join("balancer.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    Program::spawn(command.arg("-db").arg("-f").arg(file).stdout(Stdio::null()))
}

impl Herd {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.routers.iter().map(super::Router::addr).collect()
    }

    /// The balancer sends requests to each router.
    async fn are_used_by(&self, balancer: &str) {
        for router in &self.routers {
            let (url, http) = (router.url(), &self.http);
            comes_true("the balancer uses it", async || {
                let own = http.instance(&url).await;
                own.is_some() && http.instance(balancer).await == own
            })
            .await;
        }
    }

    /// Stops each, and starts it again when it has ended; the next one when it is used.
    async fn restart_in_turn(&mut self, clients: &Clients, balancer: &str, program: &Path) {
        for n in 0..self.routers.len() {
            clients.phase(&format!("router {n} becomes {}", program.display()));
            let began = Instant::now();
            let status = self.routers[n].stop().await;
            assert!(status.success(), "{status}");
            measured("a router has stopped", began.elapsed());
            self.routers[n].is_run_by([program]);
            self.routers[n].start();
            self.routers[n].is_ready(&self.http).await;
            self.are_used_by(balancer).await;
            measured("  and is used again", began.elapsed());
            clients.are_served().await;
        }
    }

    async fn nothing_failed(&self, seen: &Seen) {
        assert!(seen.missed.is_empty(), "{:#?}", seen.missed);
        let answered = seen.answered();
        assert!(answered > 500, "the load was too small: {answered}");
        for (phase, longest) in &seen.longest {
            measured(&format!("longest wait: {phase}"), *longest);
        }
        self.must_have_counted(seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_routers_restarted_in_turn_nobody_notices_anything() {
    let servers = servers();
    let mut herd = Herd::new().await;
    herd = herd.with_routers(3, "lead_in = \"3s\"\n", &endpoints(&servers));
    herd.start().await;
    let front = Port::free();
    let _balancer = balancer(front.addr(), &herd.addresses(), herd.folder());
    let url = format!("http://{}", front.addr());
    herd.are_used_by(&url).await;

    // Half of them know one address, and half have all three of DNS.
    let (one, all) = (vec![url.clone()], herd.urls());
    let mut addresses = Vec::new();
    for n in 0..16 {
        let mut named = all.clone();
        named.rotate_left(n % all.len());
        addresses.extend([one.clone(), named]);
    }
    let clients = Clients::each(addresses, Retries::Unconnected);
    clients.are_served().await;
    let program = Path::new(env!("CARGO_BIN_EXE_herdsman"));
    herd.restart_in_turn(&clients, &url, program).await;
    let seen = clients.stop().await;
    herd.nothing_failed(&seen).await;
    assert!(
        seen.moved > 0,
        "those with three addresses have met a router that was away"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_last_release_to_this_program_and_back_nobody_notices_anything() {
    let mut lines = LAST_RELEASE.lines();
    let commit = lines.find(|line| !line.starts_with('#')).unwrap();
    let former = last_release(commit);
    let servers = servers();
    let mut herd = Herd::new().await;
    herd = herd.with_routers(2, "lead_in = \"4s\"\n", &endpoints(&servers));
    for router in &mut herd.routers {
        router.is_run_by([&former]);
    }
    herd.start().await;
    let front = Port::free();
    // As it is shipped, which needs less of a router than a plain balancer does.
    let _balancer = haproxy(front.addr(), &herd.addresses(), herd.folder());
    let url = format!("http://{}", front.addr());
    herd.are_used_by(&url).await;

    let clients = Clients::start(32, std::slice::from_ref(&url), Retries::Unconnected);
    clients.are_served().await;
    let program = Path::new(env!("CARGO_BIN_EXE_herdsman"));
    herd.restart_in_turn(&clients, &url, program).await;
    herd.restart_in_turn(&clients, &url, &former).await;
    let seen = clients.stop().await;
    herd.nothing_failed(&seen).await;
}

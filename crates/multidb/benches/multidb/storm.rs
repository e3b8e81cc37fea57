//! All faults at random for some minutes, and what users saw of it.

use std::time::Duration;

use herdsman_multidb::MultiDb;

use crate::figures::runtime;
use crate::support::{Fixture, ProxiedServer, quick, storm};

const USERS: usize = 64;

pub(crate) fn measure(minutes: u64) {
    let (proxies, clients) = (runtime(1), runtime(1));
    let servers = proxies.block_on(ProxiedServer::start_many(3));
    let seed = fastrand::u64(..);
    println!("\n## Storm of {minutes} min, {USERS} users, seed {seed}\n");
    clients.block_on(async {
        let config = quick(servers.iter().map(ProxiedServer::config))
            .response_timeout(Duration::from_millis(500))
            .connect_timeout(Duration::from_millis(500))
            .health_check_timeout(Duration::from_millis(500))
            .auto_fallback_interval(Some(Duration::from_millis(500)));
        let db = MultiDb::connect(config).await.expect("a client");
        let fixture = Fixture { servers, db };
        let report = storm(&fixture, USERS, seed, Duration::from_secs(60 * minutes)).await;
        let metrics = fixture.db.metrics();
        let acknowledged: u64 = report
            .tally
            .users
            .iter()
            .map(|user| user.acknowledged)
            .sum();
        let of = |kind: &str, n: usize| println!("| {kind} | {n} |");
        println!("| | |\n|---|---|");
        println!("| commands acknowledged | {acknowledged} |");
        let failures = || report.tally.failures();
        of(
            "outcome unknown",
            failures().filter(|failure| failure.is_unknown()).count(),
        );
        of(
            "no database available",
            failures()
                .filter(|failure| failure.is_unavailable())
                .count(),
        );
        of(
            "other errors",
            failures()
                .filter(|failure| !failure.is_unknown() && !failure.is_unavailable())
                .count(),
        );
        println!("| repeated | {} |", metrics.retries);
        println!(
            "| switches | {} |",
            metrics.switches.iter().map(|(_, n)| n).sum::<u64>()
        );
        println!("| administrative calls | {} |", report.admin_calls);
        for (fault, times) in &report.injected {
            println!("| {fault:?} | {times} |");
        }
        fixture.check_counts(&report.tally).await;
        fixture.finish().await;
        println!("\nNo acknowledged count is lost, none is there twice, no connection is left.");
    });
}

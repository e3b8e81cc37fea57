//! All faults at random, and everything that can be changed while running, by a seed.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{Fault, Fixture, ProxiedServer, Tally, Workload};

/// What happened during a storm.
#[derive(Debug)]
pub struct Report {
    pub tally: Tally,
    /// How often each fault was injected.
    pub injected: Vec<(Fault, u32)>,
    /// Administrative calls meanwhile.
    pub admin_calls: u32,
}

/// For `length`, users count while faults are injected into two databases of three, one at a time or
/// both at once, with administrative calls meanwhile. At the end all faults are cleared, and every
/// user has progressed.
pub async fn storm(fixture: &Fixture, users: usize, seed: u64, length: Duration) -> Report {
    let workload = Workload::counting(&fixture.db, users);
    workload.progress(1).await;
    let end = Instant::now() + length;
    let random = |i| Rng::with_seed(seed.wrapping_add(i));
    let (first, second, admin_calls) = tokio::join!(
        inject_faults(fixture, 0, random(0), end),
        inject_faults(fixture, 1, random(1), end),
        call_admin(fixture, random(2), end),
    );
    workload.progress(1).await;
    let mut injected: Vec<_> = Fault::ALL.map(|fault| (fault, 0)).into();
    for fault in first.into_iter().chain(second) {
        for (kind, times) in &mut injected {
            *times += u32::from(*kind == fault);
        }
    }
    Report {
        tally: workload.stop().await,
        injected,
        admin_calls,
    }
}

/// A fault is injected into one database and cleared after a moment, again and again.
async fn inject_faults(fixture: &Fixture, i: usize, mut random: Rng, end: Instant) -> Vec<Fault> {
    let proxied = &fixture[i];
    let mut injected = Vec::new();
    while Instant::now() < end {
        let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
        match random.u8(..8) {
            0 => proxied.network.reset(),
            1 => proxied.network.cut_reply_of("INCR", random.usize(1..20)),
            _ => {
                fault.inject(proxied).await;
                sleep(Duration::from_millis(random.u64(10..2_500))).await;
                fault.clear(proxied).await;
                injected.push(fault);
            }
        }
        sleep(Duration::from_millis(random.u64(10..2_500))).await;
    }
    injected
}

/// Administrative calls, whatever the faults; those that are refused are ignored.
async fn call_admin(fixture: &Fixture, mut random: Rng, end: Instant) -> u32 {
    let mut admin_calls = 0;
    let db = &fixture.db;
    while Instant::now() < end {
        sleep(Duration::from_millis(random.u64(100..1_500))).await;
        let databases = db.status().databases.clone();
        let one = databases[random.usize(..databases.len())].database.id;
        match random.u8(..5) {
            0 => drop(db.set_active_database(one).await),
            1 => drop(db.force_active_database(one).await),
            2 => drop(db.update_database_weight(one, random.f64()).await),
            3 => drop(db.remove_database(one).await),
            _ => {
                let known = |proxied: &&ProxiedServer| {
                    let host = format!("127.0.0.1:{}", proxied.network.port());
                    databases
                        .iter()
                        .any(|status| *status.database.name == *host)
                };
                for proxied in fixture.servers.iter().filter(|proxied| !known(proxied)) {
                    drop(db.add_database(proxied.config()).await);
                }
            }
        }
        admin_calls += 1;
    }
    admin_calls
}

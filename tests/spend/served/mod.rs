//! The storm end to end: three `herdsman serve` over one database and two Redis, and clients that
//! ask them over HTTP, with keys of users and teams, for answers that cost money.
//!
//! Each request has a name of its own among those who pay for it, so that the database itself says
//! how often it was counted and what for. An answer whose end a client saw is counted once, with the
//! tokens the client was told and what these cost; any other at most once; and every table is the
//! sum of just these. Nothing here looks into a router: it is what an operator's client, database
//! client and `herdsman spend verify` say.
//!
//! `HERDSMAN_SEED` and `HERDSMAN_STORM_SECONDS` are those of the other storm.

mod accounts;
mod ask;
mod client;
mod http;
mod ledger;
mod program;
mod routers;
mod servers;

use tokio::time::Instant;

use crate::storm::{FAULTS, Fault, Storm, seed_and_seconds};
use crate::support::On;
use accounts::Accounts;
use client::Workload;
use http::Http;
use routers::Routers;
use servers::Servers;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_is_counted_on_sqlite() {
    storm(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_is_counted_on_postgres() {
    storm(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_is_counted_on_mariadb() {
    storm(On::MariaDb).await;
}

/// Nobody gets at the actors of a program from outside; an operator gets at its Redis.
fn faults() -> [Fault; FAULTS.len()] {
    FAULTS.map(|fault| match fault {
        Fault::KillActors => Fault::FailOver,
        other => other,
    })
}

async fn storm(on: On) {
    let (seed, seconds) = seed_and_seconds();
    println!("HERDSMAN_SEED={seed} ({on:?}, {seconds} s, over HTTP)");
    let mut storm = Storm::start(on, seed).await;
    let servers = Servers::start().await;
    let http = Http::new();
    let mut routers = Routers::start(&storm, &servers, &http).await;
    let accounts = Accounts::open(&http, &routers.addresses()[0]).await;
    routers.know(&accounts).await;

    let mut workload = Workload::start(routers.addresses(), &accounts, seed);
    workload.is_served().await;
    storm.run(&faults(), seconds, &mut routers).await;
    storm.end().await;
    let seen = workload.stop().await;

    let began = Instant::now();
    routers.settle().await;
    let tables = storm.fixture.tables().await;
    let counted = ledger::must_hold(tables, &seen, &accounts);
    println!(
        "{} asked, {} seen to their end, not {:?}, {counted} counted, settled in {:?}",
        seen.asked,
        seen.told.len(),
        seen.missed,
        began.elapsed()
    );
    seen.must_be_enough(seconds);
    routers.must_add_up().await;
    assert_eq!(storm.fixture.letters().await, []);
    storm.streams_are_empty().await;
    servers.stop().await;
}

//! Backups that were taken while routers wrote, and restored: each with the program that the page on databases
//! names, and then a router on what came of it.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::task::block_in_place;

use crate::support::{Fixture, On, Plan, Process, RECORDS_PER_RUN, Router, Tables, eventually};
use herdsman_test_support::Network;

const CLIENTS: u64 = 16;
/// How a file is copied while it is written to.
const INTO: &str = "VACUUM INTO 'FILE'";
const BACKUP: &str = ".backup 'FILE'";

/// Every batch is in it wholly or not at all, and with the journal that is newer nothing is counted twice;
/// nor does anything lack that was not in the database when it was set back.
async fn under_load(on: On, of_file: &str) {
    let fixture = Fixture::on(on).await;
    let plan = fixture.plan("a");
    let mut router = Process::start(&plan, &fixture.database, 0, CLIENTS);
    router.works().await;
    let backup = block_in_place(|| fixture.database.back_up(of_file));
    router.works().await;
    let acknowledged = router.kill();
    let set_back = fixture.tables().await.counted();

    let restored = block_in_place(|| fixture.database.restored(backup));
    let store = restored.store().await;
    let saved = Tables::of(&store).await;
    let kept = saved.counted();
    saved.must_hold(&kept);
    assert!(!kept.is_empty(), "the backup is empty");

    let place = restored.place_of_routers();
    let mut router = Process::start_at(&plan, place, RECORDS_PER_RUN, CLIENTS);
    router.works().await;
    let (sums, more) = router.settle().await;
    assert_eq!(sums[0], sums[1], "all that it recorded is committed");
    let tables = Tables::of(&store).await;
    tables.must_hold(&kept.union(&more).copied().collect());
    let counted = tables.counted();
    let lost: BTreeSet<u64> = acknowledged.difference(&counted).copied().collect();
    println!(
        "{on:?}: of {} {} were set back",
        acknowledged.len(),
        lost.len()
    );
    assert!(
        lost.is_subset(&set_back),
        "more than the database had is gone"
    );
    assert_eq!(store.accounts_that_disagree().await.unwrap(), []);
    assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_vacuumed_into_another_under_load() {
    under_load(On::Sqlite, INTO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_copied_by_its_backup_command_under_load() {
    under_load(On::Sqlite, BACKUP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_postgres_under_load() {
    under_load(On::Postgres, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_mariadb_under_load() {
    under_load(On::MariaDb, "").await;
}

/// What a router has not seen in the database yet stays in its journal, and survives.
async fn pending(fixture: &Fixture, router: Router, numbers: std::ops::Range<u64>) -> Plan {
    let held = match fixture.database.server() {
        None => Some(fixture.database.held()),
        Some(_) => {
            fixture.database.network().set(Network::BlackHole).await;
            None
        }
    };
    router.record(numbers).await;
    let plan = router.crash().await;
    drop(held);
    if fixture.database.server().is_some() {
        fixture.database.network().set(Network::Whole).await;
    }
    plan
}

/// What was applied after the backup, and forgotten by the journal, is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_loses_what_came_to_the_database_after_the_backup_and_nothing_else() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let alone = Plan {
            redis: Vec::new(),
            ..fixture.plan("a")
        };
        let router = fixture.start(alone).await;
        router.record(0..100).await;
        router.settle().await;
        let backup = block_in_place(|| fixture.database.back_up(INTO));
        router.record(100..200).await;
        // In order: its journal is empty then, and not only known to be in the database.
        let plan = router.stop().await;
        let router = fixture.start(plan).await;
        let plan = pending(&fixture, router, 200..300).await;

        let restored = block_in_place(|| fixture.database.restored(backup));
        let store = restored.store().await;
        let router = plan.start(store.clone()).await;
        router.settle().await;
        let tables = Tables::of(&store).await;
        let kept: BTreeSet<u64> = (0..100).chain(200..300).collect();
        tables.must_hold(&kept);
        assert_eq!(tables.counted(), kept);
    }
}

/// A folder of a router that is put back is one that has not heard what was applied since.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_journal_is_sent_again_and_counted_once() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let router = fixture.router("a").await;
        let plan = pending(&fixture, router, 0..100).await;
        let older = tempfile::tempdir().unwrap();
        copy(&plan.dir, older.path());

        let router = fixture.start(plan).await;
        router.settle().await;
        let mut all = router.record(100..200).await;
        router.settle().await;
        all.extend(0..100);
        let plan = router.stop().await;
        fixture.must_be(&all).await;

        std::fs::remove_dir_all(&plan.dir).unwrap();
        copy(older.path(), &plan.dir);
        let router = fixture.start(plan).await;
        router.settle().await;
        all.extend(router.record(200..300).await);
        router.settle().await;
        fixture.must_be(&all).await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Redis comes back with batches that have long been applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_set_back_sends_what_is_known() {
    let fixture = Fixture::on(On::Postgres).await;
    let router = fixture.leader("a").await;
    fixture.database.network().set(Network::BlackHole).await;
    let mut all = router.record(0..100).await;
    eventually("they are in Redis", async || fixture.depth().await > 0).await;
    fixture
        .redis
        .run("COPY {test:spend}:batches {test:spend}:snapshot")
        .await;
    fixture.database.network().set(Network::Whole).await;
    router.settle().await;
    eventually("Redis is empty", async || fixture.depth().await == 0).await;

    fixture
        .redis
        .run("RENAME {test:spend}:snapshot {test:spend}:batches")
        .await;
    all.extend(router.record(100..200).await);
    router.settle().await;
    eventually("what was set back is read and dropped", async || {
        fixture.depth().await == 0
    })
    .await;
    fixture.must_be(&all).await;
}

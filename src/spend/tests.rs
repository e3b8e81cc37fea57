//! The whole pipeline, on real files and a real database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use futures_util::future::{join_all, try_join_all};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::{Charge, ModelName, TokenCounts};
use crate::store::{SQLITE_FILE, Store};

const SOON: Duration = Duration::from_secs(20);

fn options(dir: &Path, durability: Durability) -> Options {
    Options {
        data_dir: dir.to_owned(),
        durability,
        seal_interval: Duration::from_millis(5),
        flush_interval: Duration::from_millis(10),
        journal_bytes: 1 << 30,
    }
}

async fn open(dir: &Path) -> (Spend, Store) {
    open_with(options(dir, Durability::Journal)).await
}

async fn open_with(options: Options) -> (Spend, Store) {
    let store = Store::open("", &options.data_dir).await.unwrap();
    store.migrate().await.unwrap();
    let spend = Spend::start(options, store.clone(), TaskTracker::new());
    (spend.await.unwrap(), store)
}

fn model() -> ModelName {
    ModelName::parse("llama3.2").unwrap()
}

/// Each number has a minute of its own, so that the database says how often each was counted. The first minute of
/// all stands for what is older than everything that is kept.
fn record(number: u32) -> UsageRecord {
    UsageRecord {
        endpoint: "gpu-1".into(),
        model: model(),
        at: i64::from(number + 1) * 60 + 30,
        tokens: TokenCounts {
            input: 1,
            output: 2,
        },
        estimated: false,
        charge: Charge::default(),
        failed: false,
    }
}

/// How often each number was counted, and a check that the two tables agree.
async fn counted(store: &Store) -> BTreeMap<i64, i64> {
    let minutes = store.time_series(&model(), u32::MAX).await.unwrap();
    let counts = store.token_counts_of(&model()).await.unwrap();
    let total: i64 = counts.iter().map(|row| row.total_tokens).sum();
    assert_eq!(
        total,
        minutes.iter().map(|row| row.total_tokens).sum::<i64>()
    );
    minutes
        .iter()
        .map(|row| (row.timestamp / 60 - 1, row.input_tokens))
        .collect()
}

fn once(numbers: std::ops::Range<u32>) -> BTreeMap<i64, i64> {
    numbers.map(|number| (i64::from(number), 1)).collect()
}

/// What a crash at this moment would leave on the disk.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn segments(dir: &Path) -> usize {
    let entries = fs::read_dir(dir.join("journal")).unwrap();
    entries
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension()
                .is_some_and(|extension| extension == "journal")
        })
        .count()
}

#[tokio::test]
async fn what_is_recorded_is_in_the_database_and_the_journal_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    try_join_all((0..100).map(|n| spend.record(record(n))))
        .await
        .unwrap();
    spend.flush_now(SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..100));
    spend.record(record(100)).await.unwrap();
    spend.shutdown(Instant::now() + SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..101));
    assert_eq!(
        (spend.stats().recorded(), spend.stats().committed()),
        (101, 101)
    );
    assert_eq!((spend.stats().pending(), spend.stats().batches()), (0, 0));
    assert_eq!(segments(dir.path()), 0);
    assert_eq!(spend.record(record(101)).await, Err(NotRecorded::Stopped));
}

#[tokio::test]
async fn without_anyone_asking_it_arrives_by_itself() {
    for durability in [Durability::Memory, Durability::Journal, Durability::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let (spend, store) = open_with(options(dir.path(), durability)).await;
        try_join_all((0..10).map(|n| spend.record(record(n))))
            .await
            .unwrap();
        let arrived = async {
            while spend.stats().committed() < 10 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, arrived).await.unwrap();
        assert_eq!(counted(&store).await, once(0..10));
    }
}

/// A crash between any two steps is a copy of the folder between them. Where a step is not seen
/// from outside, the journal of before it is put together with the database of after it.
#[tokio::test]
async fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let crashes = tempfile::tempdir().unwrap();
    let at = |step: &str| crashes.path().join(step);

    let quiet = Options {
        seal_interval: Duration::from_secs(3_600),
        flush_interval: Duration::from_secs(3_600),
        ..options(dir.path(), Durability::Journal)
    };
    let (spend, _store) = open_with(quiet).await;
    try_join_all((0..50).map(|n| spend.record(record(n))))
        .await
        .unwrap();
    copy(dir.path(), &at("appended"));
    spend.0.journal.seal();
    // The answer to a later record says that the seal has been written.
    spend.record(record(50)).await.unwrap();
    copy(dir.path(), &at("sealed"));
    spend.flush_now(SOON).await.unwrap();
    copy(dir.path(), &at("flushed"));
    spend.record(record(51)).await.unwrap();
    spend.shutdown(Instant::now() + SOON).await.unwrap();
    copy(dir.path(), &at("forgotten"));
    for journal in ["appended", "sealed"] {
        let mixed = at(&format!("committed, {journal}"));
        copy(&at("flushed"), &mixed);
        fs::remove_dir_all(mixed.join("journal")).unwrap();
        copy(&at(journal).join("journal"), &mixed.join("journal"));
    }

    for (step, records) in [
        ("appended", 50),
        ("sealed", 51),
        ("committed, appended", 51),
        ("committed, sealed", 51),
        ("flushed", 51),
        ("forgotten", 52),
    ] {
        let (spend, store) = open(&at(step)).await;
        let again = at(&format!("{step}, crashed again during the replay"));
        copy(&at(step), &again);
        spend.flush_now(SOON).await.unwrap();
        assert_eq!(counted(&store).await, once(0..records), "after {step}");
        spend.shutdown(Instant::now() + SOON).await.unwrap();
        assert_eq!(segments(&at(step)), 0, "after {step}");

        let (spend, store) = open(&again).await;
        spend.flush_now(SOON).await.unwrap();
        assert_eq!(
            counted(&store).await,
            once(0..records),
            "after {step}, twice"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_killed_under_load_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let mut waiting = Vec::new();
    for number in 0..1_000 {
        waiting.push(spend.record(record(number)));
        match number % 250 {
            50 => spend.kill_sealing_actor(),
            100 => spend.kill_flush_actor(),
            150 => {
                spend.kill_flush_actor();
                spend.kill_sealing_actor();
            }
            // Lets them restart and work before they are killed next.
            _ => tokio::task::yield_now().await,
        }
        if number % 250 == 0 {
            try_join_all(waiting.drain(..)).await.unwrap();
            spend.flush_now(SOON).await.unwrap();
        }
    }
    try_join_all(waiting).await.unwrap();
    spend.shutdown(Instant::now() + SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..1_000));
    assert_eq!(spend.stats().pending(), 0);
}

/// Not twice a second, as a scrape is, but as often as a processor can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_sees_sums_that_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let (stats, over) = (Arc::clone(spend.stats()), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&over);
    let looking = std::thread::spawn(move || {
        let mut looks = 0_u64;
        while !stop.load(Relaxed) {
            for account in [stats.account(), stats.own().1] {
                assert!(account.holds(), "{account:?}");
            }
            looks += 1;
        }
        looks
    });
    for first in (0..8_000).step_by(400) {
        let some = first..first + 400;
        try_join_all(some.map(|number| spend.record(record(number))))
            .await
            .unwrap();
        assert!(spend.stats().recorded() >= u64::from(first) + 400);
    }
    spend.flush_now(SOON).await.unwrap();
    over.store(true, Relaxed);
    assert!(looking.join().unwrap() > 1_000);
    assert_eq!(spend.stats().own().1.committed, 8_000);
    let audit = verify(&store, Some(spend.stats()), Duration::ZERO).await;
    assert_eq!(audit.unwrap().problems, []);
}

#[tokio::test]
async fn a_locked_database_delays_nobody_but_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let path = dir.path().join(SQLITE_FILE);
    let mut operator = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    operator.batch_execute("BEGIN IMMEDIATE").unwrap();
    for number in 0..50 {
        spend.record(record(number)).await.unwrap();
    }
    let stuck = spend.flush_now(Duration::from_millis(100)).await;
    assert_eq!(stuck, Err(Unflushed { pending: 50 }));
    assert!(spend.journal_healthy());
    operator.batch_execute("COMMIT").unwrap();
    spend.flush_now(SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..50));
}

#[tokio::test]
async fn a_database_that_refuses_or_is_gone_for_a_while_gets_everything_later() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let (path, aside) = (dir.path().join(SQLITE_FILE), dir.path().join("aside"));
    let failed_again = async |times: u64| {
        let before = spend.stats().flush_errors();
        while spend.stats().flush_errors() < before + times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };

    let mut operator = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    operator
        .batch_execute(
            "CREATE TRIGGER full BEFORE UPDATE ON token_counts \
             BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END; \
             CREATE TRIGGER readonly BEFORE INSERT ON token_counts \
             BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END;",
        )
        .unwrap();
    try_join_all((0..10).map(|n| spend.record(record(n))))
        .await
        .unwrap();
    failed_again(2).await;
    operator
        .batch_execute("DROP TRIGGER full; DROP TRIGGER readonly;")
        .unwrap();
    drop(operator);
    spend.flush_now(SOON).await.unwrap();

    fs::rename(&path, &aside).unwrap();
    try_join_all((10..20).map(|n| spend.record(record(n))))
        .await
        .unwrap();
    failed_again(2).await;
    fs::rename(&aside, &path).unwrap();
    spend.flush_now(SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..20));
}

#[tokio::test]
async fn what_cannot_be_flushed_at_shutdown_is_left_to_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, _store) = open(dir.path()).await;
    let (path, aside) = (dir.path().join(SQLITE_FILE), dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    spend.record(record(0)).await.unwrap();
    let left = spend
        .shutdown(Instant::now() + Duration::from_millis(50))
        .await;
    assert_eq!(left, Err(Unflushed { pending: 1 }));

    fs::rename(&aside, &path).unwrap();
    let (spend, store) = open(dir.path()).await;
    spend.flush_now(SOON).await.unwrap();
    assert_eq!(counted(&store).await, once(0..1));
}

#[tokio::test]
async fn a_folder_has_one_pipeline_and_is_free_when_that_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let start = || {
        let options = options(dir.path(), Durability::Journal);
        Spend::start(options, store.clone(), TaskTracker::new())
    };
    let refused = start().await.unwrap_err();
    assert!(
        matches!(refused, StartError::Journal(OpenError::InUse(_))),
        "{refused}"
    );
    drop(spend);
    let free = async {
        while start().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, free).await.unwrap();
}

#[tokio::test]
async fn records_of_many_requests_at_once_are_all_answered_and_summed() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, store) = open(dir.path()).await;
    let answers = join_all((0..5_000).map(|n| spend.record(record(n % 3)))).await;
    assert!(answers.iter().all(Result::is_ok));
    spend.flush_now(SOON).await.unwrap();
    let sums: i64 = counted(&store).await.values().sum();
    assert_eq!(sums, 5_000);
}

#[tokio::test]
async fn the_metrics_have_the_names_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let (spend, _store) = open(dir.path()).await;
    let mut registry = prometheus_client::registry::Registry::with_prefix("herdsman");
    spend.stats().register(&mut registry);
    spend.record(record(0)).await.unwrap();
    spend.shutdown(Instant::now() + SOON).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("flush_seconds"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    herdsman_pod_lock_manager_size 1
    herdsman_in_memory_spend_update_queue_size 0
    herdsman_in_memory_daily_spend_update_queue_size 0
    herdsman_redis_spend_update_queue_size 0
    herdsman_redis_daily_spend_update_queue_size 0
    herdsman_spend_oldest_unflushed_seconds 0
    herdsman_spend_journal_bytes 0
    herdsman_spend_journal_limit_bytes 1073741824
    herdsman_spend_journal_healthy 1
    herdsman_spend_records_pending_total 0
    herdsman_spend_records_owed 0
    herdsman_spend_records_recorded_total 1
    herdsman_spend_records_committed_total 1
    herdsman_spend_records_dead_lettered_total 0
    herdsman_spend_records_refused_total 0
    herdsman_spend_records_capped_total 0
    herdsman_spend_journal_errors_total 0
    herdsman_spend_flush_errors_total 0
    herdsman_spend_dead_letters_total 0
    ");
    assert!(
        text.contains("herdsman_spend_flush_seconds_count 1"),
        "{text}"
    );
}

const CHILD_DIR: &str = "HERDSMAN_TEST_COUNT_IN";
const CHILD_FROM: &str = "HERDSMAN_TEST_COUNT_FROM";

/// Not a test by itself: what the test below starts and kills.
#[tokio::test]
async fn a_process_that_counts_until_it_is_killed() {
    let (Some(dir), Some(from)) = (std::env::var_os(CHILD_DIR), std::env::var_os(CHILD_FROM))
    else {
        return;
    };
    let from: u32 = from.to_str().unwrap().parse().unwrap();
    let (spend, _store) = open(Path::new(&dir)).await;
    for number in from.. {
        spend.record(record(number)).await.unwrap();
        println!("acknowledged {number}");
    }
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_and_doubles_nothing_that_was_acknowledged() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for run in 0..4 {
        // The one that was never acknowledged may have been counted, too.
        let from = acknowledged.last().map_or(0, |last| last + 2);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "spend::tests::a_process_that_counts_until_it_is_killed",
            ])
            .args(["--nocapture", "--test-threads", "1"])
            .env(CHILD_DIR, dir.path())
            .env(CHILD_FROM, from.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| {
            line.split_once("acknowledged ")
                .and_then(|(_, number)| number.parse::<i64>().ok())
        });
        // Long enough to be in the middle of a flush, and never at the same point.
        let mut numbers = numbers.inspect(|&number| assert!(acknowledged.insert(number)));
        numbers.by_ref().nth(100 + 137 * run).unwrap();
        child.kill().unwrap();
        numbers.for_each(drop);
        child.wait().unwrap();
    }
    let (spend, store) = open(dir.path()).await;
    spend.flush_now(SOON).await.unwrap();
    let counted = counted(&store).await;
    assert!(counted.values().all(|&times| times == 1));
    assert!(acknowledged.len() > 1_000);
    for number in acknowledged {
        assert!(counted.contains_key(&number), "{number} was acknowledged");
    }
}

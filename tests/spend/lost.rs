//! The ways in which LiteLLM loses spend (`L1` to `L17` of our reading of it), one by one, each tried
//! here: nothing is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::domain::{Account, AccountKind, EntityKind, Payer, TokenCounts, UsageRecord};
use herdsman::spend::{Durability, NotRecorded, StreamLimits};
use herdsman::store::{Precondition, Saved};

use crate::support::{Database, Fixture, On, SOON, eventually, record};
use herdsman_test_support::Network;
use herdsman_test_support::redis::{Plan as RedisPlan, Server};

const STREAM: &str = "{test:spend}:batches";
/// Whoever comes first may.
const NOBODY_LEADS: &str = "DEL {test:spend}:lease";

/// What only this router has in memory when it is killed is in its journal.
#[tokio::test(flavor = "multi_thread")]
async fn l1_a_router_killed_with_usage_in_memory() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.seal_interval = Duration::from_secs(3_600);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..500).await;
    let mut plan = router.crash().await;
    assert!(fixture.tables().await.counted().is_empty());
    plan.seal_interval = Duration::from_millis(10);
    fixture.start(plan).await.settle().await;
    fixture.must_be(&numbers).await;
}

/// What it had read is still in the stream, and the next leader claims it.
#[tokio::test(flavor = "multi_thread")]
async fn l2_the_leader_dies_between_reading_and_committing() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        fixture.database.network().set(Network::NoRequests).await;
        let numbers = leader.record(0..200).await;
        eventually("it has read", async || fixture.read_and_there().await > 0).await;
        let plan = leader.crash().await;
        fixture.database.network().set(Network::Whole).await;
        assert!(fixture.depth().await > 0, "nothing read was removed");
        // Its own journal is not needed for that: another router does not know these.
        let other = fixture.router("b").await;
        eventually("the other one wrote it", async || {
            fixture.depth().await == 0
        })
        .await;
        fixture.must_be(&numbers).await;
        fixture.start(plan).await.settle().await;
        fixture.must_be(&numbers).await;
        drop(other);
    }
}

/// What was read with an answer that never came is still there, and read again.
#[tokio::test(flavor = "multi_thread")]
async fn l3_the_reply_to_reading_is_lost() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        // The group that reads is there from here on: what is cut below is a read, and no refusal.
        let mut all = leader.record(900..910).await;
        leader.settle().await;
        for round in 0..3 {
            fixture.take_the_lease_from(&leader).await;
            all.extend(leader.record(round * 100..round * 100 + 100).await);
            eventually("it is in the stream", async || fixture.depth().await > 0).await;
            assert_eq!(fixture.read_and_there().await, 0, "and nobody has read it");
            fixture.database.network().set(Network::NoRequests).await;
            fixture.network.cut_reply_of("XREADGROUP", 1);
            fixture.redis.run(NOBODY_LEADS).await;
            eventually("it was read, and the reply was lost", async || {
                fixture.network.uncut() == 0 && fixture.read_and_there().await > 0
            })
            .await;
            fixture.database.network().set(Network::Whole).await;
            leader.settle().await;
        }
        fixture.must_be(&all).await;
        eventually("the stream is empty", async || fixture.depth().await == 0).await;
        assert_eq!(leader.spend.stats().resent(), 0, "it was never gone");
    }
}

/// An element that nobody can read costs nothing but itself, and one that only a later version can read
/// is left to it.
#[tokio::test(flavor = "multi_thread")]
async fn l4_poison_in_the_stream() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.flush_interval = Duration::from_millis(100);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..50).await;
    let some = "0190b5a0-0000-7000-8000-000000000001";
    // Numbers that no producer gives out and no database keeps, without a text and with one.
    let numbered = |seq: u64| {
        let text = r#""records":1,"oldest":0,"names":[],"tokens":[],"spend":[],"daily":[]"#;
        format!(
            r#"id {some}/{seq} v 1 rows 1 body {{"v":1,"producer":"{some}","seq":{seq},{text}}}"#
        )
    };
    for entry in [
        "id x/1 v 1 rows 1 body {",
        "nonsense 1",
        &format!("id {some}/18446744073709551615 v 1 rows 1 body {{"),
        &numbered(u64::MAX),
        &numbered(0),
    ] {
        fixture.redis.run(&format!("XADD {STREAM} * {entry}")).await;
    }
    // What a later version wrote, also where the number is not one of ours.
    for seq in [1, u64::MAX] {
        let later = format!(r#"XADD {STREAM} * id {some}/{seq} v 9 rows 1 body {{"v":9}}"#);
        fixture.redis.run(&later).await;
    }
    let more = router.record(50..100).await;
    router.settle().await;
    let all: BTreeSet<u64> = numbers.union(&more).copied().collect();
    eventually("only the later ones are left", async || {
        fixture.depth().await == 2
    })
    .await;
    fixture.must_be(&all).await;
    let letters = fixture.letters().await;
    assert_eq!(letters.len(), 5, "{letters:#?}");
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason.contains("no batch"))
    );
}

/// Whether it was applied is not guessed: it is asked again, under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn l5_the_connection_to_the_database_breaks_before_anything_was_applied() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        let mut all = BTreeSet::new();
        for round in 0..4 {
            fixture.database.network().set(Network::NoRequests).await;
            all.extend(leader.record(round * 50..round * 50 + 50).await);
            eventually("it writes", async || fixture.read_and_there().await > 0).await;
            fixture.database.network().set(Network::Refusing).await;
            fixture.database.network().set(Network::Whole).await;
            leader.settle().await;
        }
        fixture.must_be(&all).await;
    }
}

/// The row at fault is set aside, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn l6_one_row_that_no_database_takes() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        let bad = UsageRecord {
            charge: herdsman::domain::Charge {
                payers: [Payer {
                    kind: EntityKind::EndUser,
                    entity: "zero\0byte".into(),
                    period: 0,
                }]
                .into(),
                ..record(0).charge
            },
            tokens: TokenCounts::ZERO,
            ..record(0)
        };
        let numbers = leader.record(0..100).await;
        leader.spend.record(bad).await.unwrap();
        let more = leader.record(100..200).await;
        leader.settle().await;
        fixture
            .must_be(&numbers.union(&more).copied().collect())
            .await;
        let letters = fixture.letters().await;
        assert_eq!(letters.len(), 1);
        assert!(
            letters[0].payload.contains("zero\\u0000byte"),
            "{letters:?}"
        );
        let stats = leader.spend.stats();
        assert_eq!((stats.committed(), stats.dead_lettered()), (200, 1));
        assert_eq!((stats.recorded(), stats.pending_in_journal()), (201, 0));
    }
}

/// Spend is added to whoever it says, whether or not an account of that name exists. Over HTTP:
/// `l7_who_is_deleted_while_its_request_runs_is_charged_all_the_same`.
#[tokio::test(flavor = "multi_thread")]
async fn l7_an_entity_that_was_deleted_while_its_request_ran() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        let store = fixture.database.directly().await;
        // Whoever pays for record 7, but for its tag, which nobody has to make.
        let charge = record(7).charge;
        let accounts = [AccountKind::Key, AccountKind::User, AccountKind::Team];
        let paid: Vec<_> = accounts.into_iter().zip(charge.payers.iter()).collect();
        for (kind, payer) in &paid {
            assert_eq!(kind.as_str(), payer.kind.as_str());
            let account = Account::new(*kind, &*payer.entity, 1_700_000_000);
            let saved = store
                .save_account(&account, Precondition::Absent)
                .await
                .unwrap();
            assert!(matches!(saved, Saved::As(_)), "{kind:?}");
        }
        let before = leader.record([7]).await;
        leader.settle().await;
        let during = leader.record([7 + 240]).await;
        for (kind, payer) in &paid {
            store
                .delete_account(*kind, &payer.entity, 1_700_000_100)
                .await
                .unwrap();
            let gone = store.account(*kind, &payer.entity).await.unwrap();
            assert_eq!(gone, None, "{kind:?}");
        }
        let after = leader.record([7 + 480]).await;
        leader.settle().await;
        let all = [before, during, after].into_iter().flatten().collect();
        fixture.must_be(&all).await;
    }
}

/// Without Redis, a flush that fails is tried again, whole.
#[tokio::test(flavor = "multi_thread")]
async fn l8_without_redis_the_database_fails_again_and_again() {
    let fixture = Fixture::on(On::Postgres).await;
    let mut plan = fixture.plan("a");
    plan.redis.clear();
    let router = fixture.start(plan).await;
    let mut all = BTreeSet::new();
    for round in 0..5 {
        fixture.database.network().set(Network::Refusing).await;
        all.extend(router.record(round * 40..round * 40 + 40).await);
        eventually("it failed", async || {
            router.spend.stats().flush_errors() > round
        })
        .await;
        fixture.database.network().set(Network::Whole).await;
    }
    router.settle().await;
    fixture.must_be(&all).await;
}

/// With neither, the journal has it, through a restart as well.
#[tokio::test(flavor = "multi_thread")]
async fn l9_neither_the_database_nor_redis() {
    let fixture = Fixture::on(On::Postgres).await;
    let router = fixture.leader("a").await;
    fixture.database.network().set(Network::Refusing).await;
    fixture.network.set(Network::Refusing).await;
    let numbers = router.record(0..300).await;
    let plan = router.crash().await;
    let router = fixture.start(plan).await;
    let more = router.record(300..400).await;
    fixture.network.set(Network::Whole).await;
    fixture.database.network().set(Network::Whole).await;
    router.settle().await;
    fixture
        .must_be(&numbers.union(&more).copied().collect())
        .await;
}

/// The producer notices what the database does not have, and sends it again.
#[tokio::test(flavor = "multi_thread")]
async fn l10_redis_loses_its_data() {
    let fixture = Fixture::on(On::Postgres).await;
    let router = fixture.leader("a").await;
    let stats = router.spend.stats();
    let mut all = BTreeSet::new();
    for (round, loss) in ["FLUSHALL", "DEL {test:spend}:batches", "restart"]
        .iter()
        .enumerate()
    {
        // So that it is in Redis and nowhere else: nobody has read it.
        fixture.take_the_lease_from(&router).await;
        let first = round as u64 * 100;
        all.extend(router.record(first..first + 100).await);
        eventually("it is in Redis", async || fixture.depth().await > 0).await;
        assert_eq!(fixture.read_and_there().await, 0);
        let before = stats.resent();
        match *loss {
            "restart" => {
                fixture.redis.kill();
                fixture.redis.restart().await;
            }
            command => fixture.redis.run(command).await,
        }
        fixture.redis.run(NOBODY_LEADS).await;
        router.settle().await;
        assert!(stats.resent() > before, "by sending it again: {loss}");
    }
    fixture.must_be(&all).await;
}

/// The same, when another, empty database takes over.
#[tokio::test(flavor = "multi_thread")]
async fn l10_redis_fails_over_to_an_empty_database() {
    let fixture = Fixture::on(On::Postgres).await;
    let second = Server::start().await;
    // So that it is in Redis and nowhere else: somebody has the lease who reads nothing.
    let nobody = "SET {test:spend}:lease nobody PX 600000";
    fixture.redis.run(nobody).await;
    let mut plan = fixture.plan("a");
    plan.redis.push(second.url());
    let router = fixture.start(plan).await;
    let numbers = router.record(0..100).await;
    eventually("it is in Redis", async || fixture.depth().await > 0).await;
    fixture.redis.kill();
    router.settle().await;
    assert!(router.spend.stats().resent() > 0, "by sending it again");
    fixture.must_be(&numbers).await;
}

/// Nobody has to wait for the answer: it is counted when it was handed over.
#[tokio::test(flavor = "multi_thread")]
async fn l11_whoever_recorded_is_cancelled() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.leader("a").await;
    let numbers: BTreeSet<u64> = (0..100).collect();
    for &n in &numbers {
        drop(router.spend.record(record(n)));
    }
    router.record([100]).await;
    router.settle().await;
    fixture.must_be(&(0..101).collect()).await;
}

/// In the journal it is the same: it is bounded, says that it is nearly full, takes everything until
/// then, refuses in words afterwards, and loses nothing of what it took.
#[tokio::test(flavor = "multi_thread")]
async fn l12_the_database_is_away_until_the_journal_is_full() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let mut plan = fixture.plan("a");
        plan.redis.clear();
        plan.journal_bytes = 1 << 20;
        let router = fixture.start(plan).await;
        fixture.database.network().set(Network::Refusing).await;
        let (mut all, mut next) = (BTreeSet::new(), 0);
        let stats = router.spend.stats();
        loop {
            let answer = router.spend.record(record(next)).await;
            match answer {
                Ok(()) => all.insert(next),
                Err(NotRecorded::Full) => break,
                Err(other) => panic!("{other}"),
            };
            next += 1;
        }
        // Close to its limit, and not before.
        assert!(stats.journal_bytes() > (1 << 20) - 1_024);
        assert!(stats.journal_crowded());
        assert_eq!((stats.pending_in_journal(), stats.refused()), (next, 1));
        // A restart changes nothing about that.
        let plan = router.crash().await;
        let router = fixture.start(plan).await;
        assert_eq!(router.spend.stats().pending_in_journal(), next);
        assert_eq!(
            router.spend.record(record(next)).await,
            Err(NotRecorded::Full)
        );
        fixture.database.network().set(Network::Whole).await;
        router.settle().await;
        all.extend(router.record([next + 1]).await);
        router.settle().await;
        fixture.must_be(&all).await;
        let stats = router.spend.stats();
        assert!(!stats.journal_crowded());
        println!("{} records in 1 MiB", all.len());
    }
}

/// The stream has a cap, and what does not fit is kept and not dropped.
#[tokio::test(flavor = "multi_thread")]
async fn l12_the_queue_in_redis_is_full() {
    let fixture = Fixture::on(On::Postgres).await;
    let mut plan = fixture.plan("a");
    plan.limits = StreamLimits {
        entries: 3,
        ..StreamLimits::default()
    };
    let router = fixture.start(plan).await;
    eventually("it leads", async || router.leads()).await;
    fixture.database.network().set(Network::BlackHole).await;
    let mut all = BTreeSet::new();
    for round in 0..10 {
        all.extend(router.record(round * 10..round * 10 + 10).await);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    eventually("it is full", async || router.spend.stats().redis_full()).await;
    assert_eq!(fixture.depth().await, 3);
    fixture.database.network().set(Network::Whole).await;
    router.settle().await;
    fixture.must_be(&all).await;
    eventually("it is not any more", async || {
        !router.spend.stats().redis_full()
    })
    .await;
}

/// Amounts are integers. One that cannot be is not believed, and that is said; the largest that is
/// believed counts in full.
#[tokio::test(flavor = "multi_thread")]
async fn l13_an_amount_that_is_none() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.leader("a").await;
    let most = 1_000_000_000_000_000;
    for amount in [0, 1, most, most] {
        let credible = UsageRecord {
            charge: herdsman::domain::Charge {
                nano_usd: amount,
                ..record(1).charge
            },
            ..record(1)
        };
        router.spend.record(credible).await.unwrap();
    }
    router.settle().await;
    assert_eq!(router.spend.stats().capped(), 0);
    for amount in [i64::MIN, -1, i64::MAX] {
        let absurd = UsageRecord {
            charge: herdsman::domain::Charge {
                nano_usd: amount,
                ..record(1).charge
            },
            ..record(1)
        };
        router.spend.record(absurd).await.unwrap();
    }
    router.settle().await;
    assert_eq!(router.spend.stats().capped(), 3, "and each was noticed");
    let store = fixture.database.directly().await;
    let spent = store.spent(EntityKind::Team).await.unwrap();
    assert_eq!(
        (spent[0].spend_nano_usd, spent[0].requests),
        (2 * most + 1 + most, 7)
    );
    assert!(fixture.letters().await.is_empty());
}

/// Who asks for no durability still loses nothing to an orderly end.
#[tokio::test(flavor = "multi_thread")]
async fn l14_at_most_once_is_asked_for() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.durability = Durability::Memory;
    plan.seal_interval = Duration::from_secs(3_600);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..100).await;
    router.stop().await;
    fixture.must_be(&numbers).await;
}

/// What Redis has not taken within the bound goes straight to the database.
#[tokio::test(flavor = "multi_thread")]
async fn l15_redis_is_away_for_long() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.accept_timeout = Duration::from_millis(500);
    let router = fixture.start(plan).await;
    eventually("it leads", async || router.leads()).await;
    for fault in [Network::Refusing, Network::BlackHole] {
        fixture.network.set(fault).await;
        let first = if fault == Network::Refusing { 0 } else { 100 };
        router.record(first..first + 100).await;
        router.settle().await;
        fixture.network.set(Network::Whole).await;
    }
    assert!(router.spend.stats().diverted() > 0);
    fixture.must_be(&(0..200).collect()).await;
}

/// All rows of a flush are written, and not the first hundred.
#[tokio::test(flavor = "multi_thread")]
async fn l16_thousands_of_rows_in_one_flush() {
    let fixture = Fixture::on(On::MariaDb).await;
    let mut plan = fixture.plan("a");
    plan.seal_interval = Duration::from_secs(3_600);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..5_000).await;
    router.spend.flush_now(SOON).await.unwrap();
    fixture.must_be(&numbers).await;
}

/// A database that dies in the middle of a flush.
#[tokio::test(flavor = "multi_thread")]
async fn l17_the_database_dies_during_a_flush() {
    for on in [On::Postgres, On::MariaDb] {
        let redis = RedisPlan::new().start().await;
        let mut fixture = Fixture::over(redis, Database::own(on).await).await;
        let router = fixture.leader("a").await;
        let mut all = BTreeSet::new();
        for round in 0..3 {
            all.extend(router.record(round * 200..round * 200 + 200).await);
            fixture.database.server_mut().kill();
            all.extend(
                router
                    .record(10_000 + round * 200..10_200 + round * 200)
                    .await,
            );
            fixture.database.server_mut().restart();
        }
        router.settle().await;
        fixture.must_be(&all).await;
    }
}

/// Not one of LiteLLM's, since there it has no answer: too much for the disk is said, and not kept
/// quiet about.
#[tokio::test(flavor = "multi_thread")]
async fn after_it_has_stopped_nobody_is_told_that_usage_was_recorded() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.router("a").await;
    let spend = router.spend.clone();
    router.stop().await;
    assert_eq!(spend.record(record(1)).await, Err(NotRecorded::Stopped));
}

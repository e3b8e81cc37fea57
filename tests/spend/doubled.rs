//! The ways in which LiteLLM counts twice (`D1` to `D8`), one by one: nothing is.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use redis::streams::StreamRangeReply;

use crate::support::{Fixture, On, Plan, Router, eventually};
use herdsman_test_support::Network;

/// Only an append has the text of a batch in it.
const APPEND: &str = "\"records\":";

#[tokio::test(flavor = "multi_thread")]
async fn d1_the_append_took_effect_and_its_reply_is_lost() {
    let fixture = Fixture::on(On::Postgres).await;
    let router = fixture.leader("a").await;
    // Redis knows the script by now: what is cut from here on has taken effect.
    let mut all = router.record(900..910).await;
    router.settle().await;
    for round in 0..4 {
        fixture.database.network().set(Network::BlackHole).await;
        fixture.network.cut_reply_of(APPEND, 2);
        all.extend(router.record(round * 50..round * 50 + 50).await);
        // The same batch is there more than once, and must be counted as one.
        eventually("it was sent again", async || fixture.duplicates().await > 0).await;
        fixture.database.network().set(Network::Whole).await;
        router.settle().await;
    }
    fixture.must_be(&all).await;
    eventually("the stream is empty", async || fixture.depth().await == 0).await;
}

/// Kills the whole router, or its actors.
async fn kill(fixture: &Fixture, router: Router, whole: bool) -> Router {
    if whole {
        return fixture.start(router.crash().await).await;
    }
    router.spend.kill_redis_actors();
    router.spend.kill_flush_actor();
    router.spend.kill_sealing_actor();
    router
}

/// Actors that die, and a runtime that is torn down, when the first statement of a transaction is
/// sent, and when only its last one is missing. Either may still arrive.
#[tokio::test(flavor = "multi_thread")]
async fn d2_a_flush_is_cancelled_half_way() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let mut router = fixture.leader("a").await;
        let mut all = BTreeSet::new();
        for round in 0..8 {
            let word = ["BEGIN", "COMMIT"][round % 2];
            fixture.database.network().stop_requests_at(word);
            let first = round as u64 * 60;
            all.extend(router.record(first..first + 60).await);
            eventually("it is half-way", async || {
                fixture.database.network().network() == Network::NoRequests
            })
            .await;
            assert!(fixture.read_and_there().await > 0, "it was read");
            let counted = fixture.tables().await.counted();
            assert!(!counted.is_superset(&all), "and is not committed");
            router = kill(&fixture, router, round % 4 < 2).await;
            fixture.database.network().set(Network::Whole).await;
        }
        router.settle().await;
        fixture.must_be(&all).await;
    }
}

/// The same with a file: it has read, and cannot write because somebody else does.
#[tokio::test(flavor = "multi_thread")]
async fn d2_a_flush_into_a_file_is_cancelled_half_way() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut router = fixture.leader("a").await;
    let mut all = BTreeSet::new();
    for round in 0..6 {
        let held = fixture.database.held();
        all.extend(router.record(round * 60..round * 60 + 60).await);
        eventually("it has read", async || fixture.read_and_there().await > 0).await;
        assert!(!fixture.tables().await.counted().is_superset(&all));
        router = kill(&fixture, router, round % 2 == 0).await;
        drop(held);
        if round % 3 == 2 {
            router.settle().await;
        }
    }
    router.settle().await;
    fixture.must_be(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_the_commit_took_effect_and_its_reply_is_lost() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let leader = fixture.leader("a").await;
        let mut all = BTreeSet::new();
        for round in 0..4 {
            let before = leader.spend.stats().flush_errors();
            fixture.database.network().cut_reply_of("COMMIT", 1);
            all.extend(leader.record(round * 50..round * 50 + 50).await);
            leader.settle().await;
            assert!(leader.spend.stats().flush_errors() > before, "it was cut");
        }
        fixture.must_be(&all).await;
    }
}

/// What was sent again although it was there is no loss, and is not reported as one.
#[tokio::test(flavor = "multi_thread")]
async fn d4_nobody_is_told_of_a_loss_that_was_none() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let router = fixture.leader("a").await;
        // Redis knows the script by now: what is cut from here on has taken effect.
        let mut all = router.record(900..910).await;
        router.settle().await;
        fixture.database.network().set(Network::BlackHole).await;
        fixture.network.cut_reply_of(APPEND, 3);
        all.extend(router.record(0..50).await);
        eventually("it was sent again, and was there", async || {
            fixture.network.uncut() == 0 && fixture.duplicates().await > 0
        })
        .await;
        fixture.database.network().set(Network::Whole).await;
        router.settle().await;
        let stats = router.spend.stats();
        assert_eq!((stats.recorded(), stats.committed()), (60, 60));
        assert_eq!((stats.resent(), stats.dead_letters()), (0, 0));
        fixture.must_be(&all).await;
    }
}

/// The leader dies when it has committed and before it has removed anything.
#[tokio::test(flavor = "multi_thread")]
async fn d5_the_leader_dies_between_committing_and_acknowledging() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let (plan, network) = fixture.plan_with_own_network("a").await;
        let leader = fixture.start(plan).await;
        eventually("it leads", async || leader.leads()).await;
        fixture.database.network().set(Network::NoRequests).await;
        let numbers = leader.record(0..100).await;
        eventually("it has read", async || fixture.read_and_there().await > 0).await;
        // From now on it can write, and not say so.
        network.set(Network::NoRequests).await;
        fixture.database.network().set(Network::Whole).await;
        eventually("it has committed", async || {
            !fixture.tables().await.counted().is_empty()
        })
        .await;
        let plan = leader.crash().await;
        assert!(fixture.depth().await > 0, "nothing was removed");
        let next = fixture.router("b").await;
        eventually("the next one removed it", async || {
            fixture.depth().await == 0
        })
        .await;
        network.set(Network::Whole).await;
        let again = fixture.start(plan).await;
        again.settle().await;
        fixture.must_be(&numbers).await;
        drop(next);
    }
}

/// A replica that did not know yet what had been removed becomes the master.
#[tokio::test(flavor = "multi_thread")]
async fn d6_redis_brings_back_what_was_removed() {
    let fixture = Fixture::on(On::Postgres).await;
    let leader = fixture.leader("a").await;
    fixture.database.network().set(Network::BlackHole).await;
    let numbers = leader.record(0..200).await;
    eventually("it is in Redis", async || fixture.depth().await > 0).await;
    let there: StreamRangeReply = fixture
        .redis
        .ask("XRANGE {test:spend}:batches - +")
        .await
        .unwrap();
    fixture.database.network().set(Network::Whole).await;
    leader.settle().await;
    eventually("the stream is empty", async || fixture.depth().await == 0).await;
    for entry in &there.ids {
        let fields = ["id", "v", "rows", "body"]
            .map(|field| format!("{field} {}", entry.get::<String>(field).unwrap()));
        let again = format!("XADD {{test:spend}}:batches * {}", fields.join(" "));
        fixture.redis.run(&again).await;
    }
    eventually("they are gone again", async || fixture.depth().await == 0).await;
    fixture.must_be(&numbers).await;
}

/// Redis and the database answer after whoever asked has given up.
#[tokio::test(flavor = "multi_thread")]
async fn d7_what_was_given_up_is_done_all_the_same() {
    let fixture = Fixture::on(On::Postgres).await;
    let leader = fixture.leader("a").await;
    let mut all = BTreeSet::new();
    for round in 0..2 {
        let before = leader.spend.stats().redis_errors();
        fixture.redis.pause();
        all.extend(leader.record(round * 50..round * 50 + 50).await);
        eventually("nobody waits for Redis any more", async || {
            leader.spend.stats().redis_errors() > before
        })
        .await;
        fixture.redis.resume();
        fixture.database.network().set(Network::NoReplies).await;
        all.extend(leader.record(1_000 + round * 50..1_050 + round * 50).await);
        eventually("it writes", async || fixture.read_and_there().await > 0).await;
        fixture.database.network().reset();
        fixture.database.network().set(Network::Whole).await;
    }
    leader.settle().await;
    fixture.must_be(&all).await;
}

/// The same journal is replayed by two: a folder that was copied, say. That one answer is recorded once
/// is shown where answers are: `d8_one_answer_is_one_record` among the tests of the whole router.
#[tokio::test(flavor = "multi_thread")]
async fn d8_the_same_usage_is_handed_in_twice() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.seal_interval = Duration::from_secs(3_600);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..100).await;
    let plan = router.crash().await;
    let copied = Plan {
        dir: plan.dir.with_extension("copy"),
        name: "twin".to_owned(),
        ..plan.clone()
    };
    copy(&plan.dir, &copied.dir);
    let (one, other) = (fixture.start(plan).await, fixture.start(copied).await);
    one.settle().await;
    other.settle().await;
    fixture.must_be(&numbers).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

//! The active database fails under 64 concurrent users, in every way there is.
//!
//! What must hold is counted: which users got failures, how many, which errors, what is in
//! the databases afterwards, and how often the active database changed. How *fast* it goes is
//! measured by `benches/multidb.rs`; a busy machine proves nothing about time.

use herdsman_multidb::SwitchReason;

use crate::support::{Fault, Fixture, Workload, changes, moved};

const USERS: usize = 64;

/// The fault is injected into the active database under load and lasts. No user gets more than
/// `failures_each`.
async fn survives(fault: Fault, failures_each: usize) {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, USERS);
    workload.progress(5).await;
    fault.inject(&fixture[0]).await;
    fixture.until_active("b").await;
    workload.progress(5).await;
    let tally = workload.stop().await;

    tally.at_most_each(failures_each);
    tally.only_in_flight();
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)],
        "one switch, and no other"
    );
    fault.clear(&fixture[0]).await;
    fixture.check_counts(&tally).await;
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_killed_database_only_commands_in_flight_fail_and_none_counts_twice() {
    survives(Fault::Kill, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_stopped_database_only_commands_in_flight_fail_and_none_counts_twice() {
    survives(Fault::Stop, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_behind_a_black_hole_only_commands_in_flight_fail_and_none_counts_twice() {
    survives(Fault::BlackHole, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_whose_replies_are_dropped_only_commands_in_flight_fail_and_none_counts_twice()
 {
    survives(Fault::NoReplies, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_accepts_and_stays_silent_only_commands_in_flight_fail_and_none_counts_twice()
 {
    survives(Fault::Silent, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_refuses_only_commands_in_flight_fail_and_none_counts_twice() {
    survives(Fault::Refuse, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_sleeps_only_commands_in_flight_fail_and_none_counts_twice() {
    survives(Fault::Sleep, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_became_read_only_no_command_fails_at_all() {
    survives(Fault::ReadOnly, 0).await;
}

/// A reset costs the commands on the connection, and nothing else: the database answers, so it
/// stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_connection_is_made_anew_on_the_same_database() {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, USERS);
    workload.progress(5).await;
    fixture[0].network.reset();
    workload.progress(5).await;
    let tally = workload.stop().await;
    tally.at_most_each(1);
    tally.only_in_flight();
    fixture.check_counts(&tally).await;
    assert_eq!(changes(&mut events), []);
    assert_eq!(fixture.active(), "a");
    fixture.finish().await;
}

/// What may be repeated is repeated: no user gets an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_say_that_their_commands_may_be_repeated_notice_no_fault() {
    for fault in [Fault::Kill, Fault::Stop, Fault::BlackHole, Fault::Refuse] {
        let fixture = Fixture::of(2).await;
        let workload = Workload::counting(&fixture.db.idempotent(), USERS);
        workload.progress(5).await;
        fault.inject(&fixture[0]).await;
        fixture.until_active("b").await;
        workload.progress(5).await;
        workload.stop().await.at_most_each(0);
        fault.clear(&fixture[0]).await;
        fixture.finish().await;
    }
}

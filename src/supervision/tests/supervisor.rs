//! Which children are restarted, and which are not.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_child_that_ends_again_and_again_is_left_alone_for_one_window_only() {
    let (mut fixture, _supervisor) = Fixture::supervised().await;
    for _ in 0..POLICY.max {
        fixture.panic();
        fixture.restarted().await;
    }
    let before = tokio::time::Instant::now();
    fixture.panic();
    fixture.restarted().await;
    assert!(before.elapsed() >= POLICY.within);
}

#[tokio::test(start_paused = true)]
async fn only_the_child_that_has_ended_is_restarted() {
    let (mut one, child) = Fixture::new(|_| ());
    let (mut other, other_child) = Fixture::new(|_| ());
    let children = vec![child, other_child];
    let _supervisor = Supervisor::start(POLICY, TaskTracker::new(), children).await;
    assert_eq!(one.next().await, Event::Started);
    assert_eq!(other.next().await, Event::Started);
    one.panic();
    one.restarted().await;
    other.has_no_event().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_has_stopped_restarting_leaves_children_ended() {
    let (mut fixture, supervisor) = Fixture::supervised().await;
    fixture.mailbox.kill();
    assert_eq!(fixture.next().await, Event::Ended);
    // In the pause before the restart, that is.
    supervisor.stop_restarting().await;
    fixture.has_no_event().await;
    assert!(!fixture.mailbox.cast(Box::new(|_, _| ())));
}

#[tokio::test]
async fn children_end_with_their_supervisor() {
    let (mut fixture, supervisor) = Fixture::supervised().await;
    drop(supervisor);
    assert_eq!(fixture.next().await, Event::Ended);
    assert_eq!(fixture.events.recv().await, None, "and so does their setup");
}

#[tokio::test(start_paused = true)]
async fn a_child_is_stopped_for_good_with_its_guard_and_forgotten() {
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (mut fixture, child) = Fixture::new(|_| ());
    let guard = supervisor.add(child);
    assert_eq!(fixture.next().await, Event::Started);
    drop(guard);
    assert_eq!(fixture.next().await, Event::Ended);
    assert_eq!(fixture.events.recv().await, None, "its setup is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_removed_in_the_pause_before_its_restart_is_not_restarted() {
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (mut fixture, child) = Fixture::new(|_| ());
    let guard = supervisor.add(child);
    assert_eq!(fixture.next().await, Event::Started);
    fixture.panic();
    assert_eq!(fixture.next().await, Event::Ended);
    drop(guard);
    assert_eq!(fixture.events.recv().await, None, "its setup is dropped");
}

#[tokio::test(start_paused = true)]
async fn removing_a_child_can_wait_for_its_end() {
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (mut fixture, child) = Fixture::new(|_| ());
    let guard = supervisor.add(child);
    assert_eq!(fixture.next().await, Event::Started);
    guard.remove().await;
    assert_eq!(fixture.events.try_recv(), Ok(Event::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_child_added_under_way_that_cannot_start_is_tried_again() {
    static STARTS: AtomicU32 = AtomicU32::new(0);
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (mut fixture, child) = Fixture::new(|_| {
        assert!(STARTS.fetch_add(1, Ordering::Relaxed) > 0, "the first time");
    });
    let _guard = supervisor.add(child);
    assert_eq!(fixture.next().await, Event::Started);
    fixture.restarted().await;
    fixture.report(1);
    assert_eq!(fixture.next().await, Event::Ran(1));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_one_of_whose_first_children_cannot_start_does_not_start() {
    let (mut good, good_child) = Fixture::new(|_| ());
    let (mut bad, bad_child) = Fixture::new(|_| panic!("told to"));
    let children = vec![good_child, bad_child];
    let outcome = Supervisor::start(POLICY, TaskTracker::new(), children).await;
    assert!(outcome.unwrap_err().to_string().contains("told to"));
    for fixture in [&mut good, &mut bad] {
        assert_eq!(fixture.next().await, Event::Started);
        assert_eq!(fixture.next().await, Event::Ended);
        assert_eq!(fixture.events.recv().await, None, "it is not tried again");
    }
}

/// Reports its number when the actor that holds it has ended.
struct Numbered(u32, UnboundedSender<u32>);

impl Drop for Numbered {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn children_are_stopped_in_reverse() {
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (ends, mut ended) = unbounded_channel();
    let mut guards = Vec::new();
    for number in 1..=3 {
        let (mut fixture, child) = Fixture::new(|_| ());
        guards.push(supervisor.add(child));
        assert_eq!(fixture.next().await, Event::Started);
        let numbered = Numbered(number, ends.clone());
        fixture.run(move |actor, _| actor.kept.push(Box::new(numbered)));
        fixture.report(number);
        assert_eq!(fixture.next().await, Event::Ran(number));
    }
    supervisor.stop().await;
    let order: Vec<_> = std::iter::from_fn(|| ended.try_recv().ok()).collect();
    assert_eq!(order, [3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_takes_a_mailbox_over_ends_the_one_before() {
    let supervisor = Supervisor::new(POLICY, TaskTracker::new());
    let (mut fixture, child) = Fixture::new(|_| ());
    let before = supervisor.add(child);
    assert_eq!(fixture.next().await, Event::Started);
    let (reporter, mut events) = unbounded_channel();
    let start = |_: &mut Context<Scripted>| ();
    let child = Child::new::<Scripted>("successor", &fixture.mailbox, Setup { reporter, start });
    let other = Supervisor::new(POLICY, TaskTracker::new());
    let _successor = other.add(child);
    assert_eq!(events.recv().await, Some(Event::Started));
    assert_eq!(fixture.next().await, Event::Ended);
    drop(before);
    fixture.report(1);
    assert_eq!(events.recv().await, Some(Event::Ran(1)));
}

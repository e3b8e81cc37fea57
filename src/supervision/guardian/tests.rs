use std::time::Duration;

use futures_util::FutureExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::supervision::{Backoff, Slot};

/// Says when it starts, and dies of any message.
struct Mortal;

#[derive(Debug)]
struct Die;

impl Actor for Mortal {
    type Msg = Die;
    type State = ();
    type Arguments = (Slot<Die>, UnboundedSender<()>);

    async fn pre_start(
        &self,
        myself: ActorRef<Die>,
        (slot, started): Self::Arguments,
    ) -> Result<(), ActorProcessingErr> {
        slot.occupy(myself);
        Ok(started.send(())?)
    }

    async fn handle(
        &self,
        _: ActorRef<Die>,
        _: Die,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Err("told to".into())
    }
}

const POLICY: RestartPolicy = RestartPolicy {
    max: 2,
    within: Duration::from_secs(600),
    backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
};

async fn guarded() -> (Handle, Slot<Die>, UnboundedReceiver<()>) {
    let (starts, mut started) = unbounded_channel();
    let slot = Slot::empty();
    let place = slot.clone();
    let start: Start = Box::new(move |supervisor| {
        let arguments = (place.clone(), starts.clone());
        async move {
            let started = Mortal::spawn_linked(None, Mortal, arguments, supervisor);
            Ok(started.await?.0.get_cell())
        }
        .boxed()
    });
    let child = Child {
        name: "mortal",
        start,
    };
    let guardian = Handle::start(POLICY, vec![child]).await.unwrap();
    started.recv().await.unwrap();
    (guardian, slot, started)
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_or_is_killed_lives_again_in_the_same_slot() {
    let (_guardian, slot, mut started) = guarded().await;
    assert!(slot.cast(Die));
    started.recv().await.unwrap();
    slot.kill();
    started.recv().await.unwrap();
    assert!(slot.cast(Die));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_dies_again_and_again_is_left_dead_for_one_window_only() {
    let (_guardian, slot, mut started) = guarded().await;
    for _ in 0..POLICY.max {
        slot.cast(Die);
        started.recv().await.unwrap();
    }
    let before = tokio::time::Instant::now();
    slot.cast(Die);
    started.recv().await.unwrap();
    assert!(before.elapsed() >= POLICY.within);
}

#[tokio::test(start_paused = true)]
async fn a_retired_guardian_lets_them_rest() {
    let (guardian, slot, mut started) = guarded().await;
    guardian.retire().await;
    let child = slot.occupant().unwrap();
    slot.cast(Die);
    child.wait(None).await.unwrap();
    let restarted = tokio::time::timeout(POLICY.within * 2, started.recv()).await;
    assert!(restarted.is_err());
    assert!(!slot.cast(Die));
}

#[tokio::test]
async fn children_end_with_the_last_handle() {
    let (guardian, slot, _started) = guarded().await;
    drop(guardian);
    slot.occupant().unwrap().wait(None).await.unwrap();
}

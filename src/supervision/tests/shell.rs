//! What holds for every actor.

use tokio::sync::oneshot;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_or_is_killed_runs_again_behind_the_same_mailbox() {
    let (mut fixture, _supervisor) = Fixture::supervised().await;
    fixture.panic();
    fixture.restarted().await;
    fixture.mailbox.kill();
    fixture.restarted().await;
    fixture.report(1);
    assert_eq!(fixture.next().await, Event::Ran(1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_task_panics_is_restarted() {
    let (mut fixture, _supervisor) = Fixture::supervised().await;
    fixture.run(|_, context| context.spawn(async { panic!("told to") }));
    fixture.restarted().await;
    fixture.run(|_, context| context.spawn_detached(async { panic!("told to") }));
    fixture.restarted().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_sends_itself_at_its_start_reaches_it() {
    let (mut fixture, child) = Fixture::new(|context| {
        context.cast(reporting(1));
        context.spawn(async { reporting(2) });
    });
    let _supervisor = Supervisor::start(POLICY, TaskTracker::new(), vec![child]).await;
    let events = [
        fixture.next().await,
        fixture.next().await,
        fixture.next().await,
    ];
    assert_eq!(events, [Event::Started, Event::Ran(1), Event::Ran(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_an_actor_that_ends_returns_none() {
    let (fixture, _supervisor) = Fixture::supervised().await;
    let answered = |reply: Reply<u32>| -> Script { Box::new(|_, _| reply.send(7).unwrap()) };
    assert_eq!(fixture.mailbox.call(answered).await, Some(7));
    let panics = |reply: Reply<u32>| -> Script {
        Box::new(move |_, _| {
            let _reply = reply;
            panic!("told to")
        })
    };
    assert_eq!(fixture.mailbox.call(panics).await, None);
    let nobody: Mailbox<Script> = Mailbox::new();
    assert_eq!(nobody.call(answered).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_timer_replaces_the_one_of_its_name() {
    let (mut fixture, _supervisor) = Fixture::supervised().await;
    fixture.run(|_, context| {
        context.arm(1, SECOND);
        context.arm(2, SECOND * 2);
        context.arm(1, SECOND * 3);
        context.arm(3, SECOND * 4);
        context.disarm(3);
    });
    let began = tokio::time::Instant::now();
    assert_eq!(fixture.next().await, Event::Due(2));
    assert_eq!(fixture.next().await, Event::Due(1));
    assert!(began.elapsed() >= SECOND * 3);
    fixture.has_no_event().await;
}

#[tokio::test(start_paused = true)]
async fn timers_and_tasks_end_with_the_actor() {
    for end in [Fixture::panic, |fixture: &Fixture| fixture.mailbox.kill()] {
        let (mut fixture, _supervisor) = Fixture::supervised().await;
        let (held, dropped) = oneshot::channel::<()>();
        fixture.run(|_, context| {
            context.arm(1, SECOND * 60);
            context.spawn(async move {
                let _held = held;
                std::future::pending().await
            });
        });
        fixture.report(1);
        assert_eq!(fixture.next().await, Event::Ran(1));
        end(&fixture);
        fixture.restarted().await;
        let dropped = tokio::time::timeout(LONG, dropped).await;
        dropped.unwrap().unwrap_err();
        fixture.has_no_event().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_task_runs_to_its_end_and_sends_the_successor_nothing() {
    let (mut fixture, _supervisor) = Fixture::supervised().await;
    let (ends, ended) = oneshot::channel();
    fixture.run(|_, context| {
        context.spawn_detached(async move {
            tokio::time::sleep(SECOND * 60).await;
            ends.send(()).unwrap();
            reporting(1)
        });
    });
    fixture.panic();
    fixture.restarted().await;
    ended.await.unwrap();
    fixture.has_no_event().await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_drained_handles_its_queued_messages_first() {
    let (mut fixture, supervisor) = Fixture::supervised().await;
    supervisor.stop_restarting().await;
    for number in 0..100 {
        fixture.report(number);
    }
    fixture.run(|_, context| context.arm(1, SECOND));
    fixture.mailbox.drain().await;
    assert!(!fixture.mailbox.cast(Box::new(|_, _| ())));
    for number in 0..100 {
        assert_eq!(fixture.events.try_recv(), Ok(Event::Ran(number)));
    }
    assert_eq!(
        fixture.events.try_recv(),
        Ok(Event::Ended),
        "nothing is left"
    );
    fixture.has_no_event().await;
}

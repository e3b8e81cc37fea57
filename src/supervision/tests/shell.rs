//! What holds for every actor.

use tokio::sync::oneshot;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_or_is_killed_runs_again_behind_the_same_mailbox() {
    let (mut stage, _supervisor) = Stage::supervised().await;
    stage.panic();
    stage.restarted().await;
    stage.mailbox.kill();
    stage.restarted().await;
    stage.say(1);
    assert_eq!(stage.next().await, Event::Ran(1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_task_panics_is_restarted() {
    let (mut stage, _supervisor) = Stage::supervised().await;
    stage.run(|_, context| context.spawn(async { panic!("told to") }));
    stage.restarted().await;
    stage.run(|_, context| context.spawn_detached(async { panic!("told to") }));
    stage.restarted().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_tells_itself_at_its_start_reaches_it() {
    let (mut stage, child) = Stage::new(|context| {
        context.cast(saying(1));
        context.spawn(async { saying(2) });
    });
    let _supervisor = Supervisor::start(POLICY, TaskTracker::new(), vec![child]).await;
    let events = [stage.next().await, stage.next().await, stage.next().await];
    assert_eq!(events, [Event::Started, Event::Ran(1), Event::Ran(2)]);
}

#[tokio::test(start_paused = true)]
async fn who_calls_an_actor_that_ends_is_told_so() {
    let (stage, _supervisor) = Stage::supervised().await;
    let answered = |reply: Reply<u32>| -> Script { Box::new(|_, _| reply.send(7).unwrap()) };
    assert_eq!(stage.mailbox.call(answered).await, Some(7));
    let panics = |reply: Reply<u32>| -> Script {
        Box::new(move |_, _| {
            let _reply = reply;
            panic!("told to")
        })
    };
    assert_eq!(stage.mailbox.call(panics).await, None);
    let nobody: Mailbox<Script> = Mailbox::new();
    assert_eq!(nobody.call(answered).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_timer_replaces_the_one_of_its_name() {
    let (mut stage, _supervisor) = Stage::supervised().await;
    stage.run(|_, context| {
        context.arm(1, SECOND);
        context.arm(2, SECOND * 2);
        context.arm(1, SECOND * 3);
        context.arm(3, SECOND * 4);
        context.disarm(3);
    });
    let began = tokio::time::Instant::now();
    assert_eq!(stage.next().await, Event::Due(2));
    assert_eq!(stage.next().await, Event::Due(1));
    assert!(began.elapsed() >= SECOND * 3);
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn timers_and_tasks_end_with_the_actor() {
    for end in [Stage::panic, |stage: &Stage| stage.mailbox.kill()] {
        let (mut stage, _supervisor) = Stage::supervised().await;
        let (held, dropped) = oneshot::channel::<()>();
        stage.run(|_, context| {
            context.arm(1, SECOND * 60);
            context.spawn(async move {
                let _held = held;
                std::future::pending().await
            });
        });
        stage.say(1);
        assert_eq!(stage.next().await, Event::Ran(1));
        end(&stage);
        stage.restarted().await;
        let dropped = tokio::time::timeout(LONG, dropped).await;
        dropped.unwrap().unwrap_err();
        stage.is_silent().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_task_runs_to_its_end_and_tells_the_successor_nothing() {
    let (mut stage, _supervisor) = Stage::supervised().await;
    let (ends, ended) = oneshot::channel();
    stage.run(|_, context| {
        context.spawn_detached(async move {
            tokio::time::sleep(SECOND * 60).await;
            ends.send(()).unwrap();
            saying(1)
        });
    });
    stage.panic();
    stage.restarted().await;
    ended.await.unwrap();
    stage.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_drained_does_first_what_it_was_told() {
    let (mut stage, supervisor) = Stage::supervised().await;
    supervisor.stop_restarting().await;
    for number in 0..100 {
        stage.say(number);
    }
    stage.run(|_, context| context.arm(1, SECOND));
    stage.mailbox.drain().await;
    assert!(!stage.mailbox.cast(Box::new(|_, _| ())));
    for number in 0..100 {
        assert_eq!(stage.events.try_recv(), Ok(Event::Ran(number)));
    }
    assert_eq!(stage.events.try_recv(), Ok(Event::Ended), "nothing is left");
    stage.is_silent().await;
}

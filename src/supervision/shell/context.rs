//! What an actor acts through.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Actor;
use super::driver::Envelope;
use super::timers::Timers;

/// Time, timers, tasks, and the actor's own address. Ends with the incarnation, and all of it does.
pub struct Context<A: Actor> {
    myself: Incarnation<A::Message>,
    tracker: TaskTracker,
    timers: Timers<A::Timer>,
    tasks: CancellationToken,
    _end_of_tasks: DropGuard,
}

/// One incarnation of an actor. What is cast to one that has ended is dropped; to reach
/// whichever incarnation runs, use the [`Mailbox`](super::Mailbox).
pub struct Incarnation<M>(ActorRef<Envelope<M>>);

impl<A: Actor> Context<A> {
    pub(super) fn new(myself: ActorRef<Envelope<A::Message>>, tracker: TaskTracker) -> Self {
        let tasks = CancellationToken::new();
        Self {
            myself: Incarnation(myself),
            tracker,
            timers: Timers::new(),
            _end_of_tasks: tasks.clone().drop_guard(),
            tasks,
        }
    }

    /// The clock. Actors read it here and pass it to their state.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// A random number in `[0, 1)`, for the state.
    #[must_use]
    pub fn random(&self) -> f64 {
        fastrand::f64()
    }

    /// The address of this incarnation, for messages that are meant for it and not for a successor.
    #[must_use]
    pub fn myself(&self) -> Incarnation<A::Message> {
        self.myself.clone()
    }

    /// Tells the actor itself, behind all it has been told so far.
    pub fn cast(&self, message: A::Message) {
        self.myself.cast(message);
    }

    /// Has [`Actor::due`] called after `pause`, once. A timer of that name that is armed is replaced.
    pub fn arm(&mut self, timer: A::Timer, pause: Duration) {
        let myself = &self.myself.0;
        self.timers.arm(timer, |number| {
            let task = myself.send_after(pause, move || Envelope::Due(number));
            task.abort_handle()
        });
    }

    /// Has no timer of that name any more, even if it has fired and waits in the mailbox.
    pub fn disarm(&mut self, timer: A::Timer) {
        self.timers.disarm(timer);
    }

    /// Runs `task`, and sends the actor its result. The task ends with the incarnation, wherever
    /// it is; when it panics, the incarnation ends with it.
    pub fn spawn(&self, task: impl Future<Output = A::Message> + Send + 'static) {
        let (tasks, answered) = (self.tasks.clone(), self.answering(task));
        self.tracker.spawn(async move {
            tasks.run_until_cancelled(answered).await;
        });
    }

    /// As [`Context::spawn`], but the task runs to its end even when the incarnation has ended, for what
    /// must not be left half done.
    pub fn spawn_detached(&self, task: impl Future<Output = A::Message> + Send + 'static) {
        self.tracker.spawn(self.answering(task));
    }

    /// Where tasks run that tell the actor nothing. The end of the program waits for them.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// The name of the timer of that number, unless it was replaced or disarmed since it fired.
    pub(super) fn fired(&mut self, number: u64) -> Option<A::Timer> {
        self.timers.fired(number)
    }

    fn answering(
        &self,
        task: impl Future<Output = A::Message> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let myself = self.myself();
        async move {
            let envelope = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(message) => Envelope::Message(message),
                Err(panic) => Envelope::TaskPanicked(text(&*panic)),
            };
            // One that has ended needs no answer; its successor asks again.
            drop(myself.0.cast(envelope));
        }
    }
}

impl<M: Send + 'static> Incarnation<M> {
    /// Tells it, if it still runs.
    pub fn cast(&self, message: M) {
        drop(self.0.cast(Envelope::Message(message)));
    }
}

impl<M> fmt::Debug for Incarnation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incarnation").finish_non_exhaustive()
    }
}

impl<M> Clone for Incarnation<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

//! Actors in their shell, under a supervisor.

mod shell;
mod supervisor;

use std::any::Any;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::TaskTracker;

use super::*;

const POLICY: RestartPolicy = RestartPolicy {
    max: 2,
    within: Duration::from_secs(600),
    backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
};

/// Longer than any pause of the policy.
const LONG: Duration = Duration::from_secs(3_600);

const SECOND: Duration = Duration::from_secs(1);

/// Runs the scripts it is sent, and reports what happens to it.
struct Scripted {
    reporter: Reporter,
    /// Dropped with it.
    kept: Vec<Box<dyn Any + Send>>,
}

/// What to do: a panic in it ends the actor.
type Script = Box<dyn FnOnce(&mut Scripted, &mut Context<Scripted>) + Send>;

/// Reports that number when it is run.
fn reporting(number: u32) -> Script {
    Box::new(move |actor, _| actor.reporter.send(Event::Ran(number)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Started,
    Ran(u32),
    Due(u8),
    Ended,
}

/// Reports the end, too, when it is dropped with the actor that holds it.
struct Reporter(UnboundedSender<Event>);

#[derive(Clone)]
struct Setup {
    reporter: UnboundedSender<Event>,
    start: fn(&mut Context<Scripted>),
}

impl Actor for Scripted {
    type Message = Script;
    type Timer = u8;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let reporter = Reporter(setup.reporter);
        reporter.send(Event::Started);
        (setup.start)(context);
        Self {
            reporter,
            kept: Vec::new(),
        }
    }

    fn handle(&mut self, script: Script, context: &mut Context<Self>) {
        script(self, context);
    }

    fn due(&mut self, timer: u8, _: &mut Context<Self>) {
        self.reporter.send(Event::Due(timer));
    }
}

impl Reporter {
    fn send(&self, event: Event) {
        // The test may be over.
        let _ = self.0.send(event);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.send(Event::Ended);
    }
}

/// A scripted actor, its mailbox, and the events it reports.
struct Fixture {
    mailbox: Mailbox<Script>,
    events: UnboundedReceiver<Event>,
}

impl Fixture {
    fn new(start: fn(&mut Context<Scripted>)) -> (Self, Child) {
        let (reporter, events) = unbounded_channel();
        let mailbox = Mailbox::new();
        let child = Child::new::<Scripted>("scripted", &mailbox, Setup { reporter, start });
        (Self { mailbox, events }, child)
    }

    /// One that runs, and its supervisor.
    async fn supervised() -> (Self, Supervisor) {
        let (mut fixture, child) = Self::new(|_| ());
        let supervisor = Supervisor::start(POLICY, TaskTracker::new(), vec![child]).await;
        assert_eq!(fixture.next().await, Event::Started);
        (fixture, supervisor.unwrap())
    }

    fn run(&self, script: impl FnOnce(&mut Scripted, &mut Context<Scripted>) + Send + 'static) {
        assert!(self.mailbox.cast(Box::new(script)), "no actor runs");
    }

    fn report(&self, number: u32) {
        self.run(reporting(number));
    }

    fn panic(&self) {
        self.run(|_, _| panic!("told to"));
    }

    async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    async fn restarted(&mut self) {
        assert_eq!(self.next().await, Event::Ended);
        assert_eq!(self.next().await, Event::Started);
    }

    /// Nothing happens for very long.
    async fn has_no_event(&mut self) {
        let next = tokio::time::timeout(LONG, self.events.recv()).await;
        assert!(!matches!(next, Ok(Some(_))), "{next:?}");
    }
}

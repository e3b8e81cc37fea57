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

/// Does what it is told, and says what happens to it.
struct Scripted {
    says: Says,
    /// Dropped with it.
    kept: Vec<Box<dyn Any + Send>>,
}

/// What to do: it ends of a panic in it.
type Script = Box<dyn FnOnce(&mut Scripted, &mut Context<Scripted>) + Send>;

/// Says that number when it comes to it.
fn saying(number: u32) -> Script {
    Box::new(move |actor, _| actor.says.say(Event::Ran(number)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Started,
    Ran(u32),
    Due(u8),
    Ended,
}

/// Says that it has ended, too, when the actor that holds it has.
struct Says(UnboundedSender<Event>);

#[derive(Clone)]
struct Setup {
    says: UnboundedSender<Event>,
    start: fn(&mut Context<Scripted>),
}

impl Actor for Scripted {
    type Message = Script;
    type Timer = u8;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let says = Says(setup.says);
        says.say(Event::Started);
        (setup.start)(context);
        Self {
            says,
            kept: Vec::new(),
        }
    }

    fn handle(&mut self, script: Script, context: &mut Context<Self>) {
        script(self, context);
    }

    fn due(&mut self, timer: u8, _: &mut Context<Self>) {
        self.says.say(Event::Due(timer));
    }
}

impl Says {
    fn say(&self, event: Event) {
        // The test may be over.
        let _ = self.0.send(event);
    }
}

impl Drop for Says {
    fn drop(&mut self) {
        self.say(Event::Ended);
    }
}

/// A scripted actor, how it is reached, and what it says.
struct Stage {
    mailbox: Mailbox<Script>,
    events: UnboundedReceiver<Event>,
}

impl Stage {
    fn new(start: fn(&mut Context<Scripted>)) -> (Self, Child) {
        let (says, events) = unbounded_channel();
        let mailbox = Mailbox::new();
        let child = Child::new::<Scripted>("scripted", &mailbox, Setup { says, start });
        (Self { mailbox, events }, child)
    }

    /// One that runs, and its supervisor.
    async fn supervised() -> (Self, Supervisor) {
        let (mut stage, child) = Self::new(|_| ());
        let supervisor = Supervisor::start(POLICY, TaskTracker::new(), vec![child]).await;
        assert_eq!(stage.next().await, Event::Started);
        (stage, supervisor.unwrap())
    }

    fn run(&self, script: impl FnOnce(&mut Scripted, &mut Context<Scripted>) + Send + 'static) {
        assert!(self.mailbox.cast(Box::new(script)), "somebody is there");
    }

    fn say(&self, number: u32) {
        self.run(saying(number));
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
    async fn is_silent(&mut self) {
        let next = tokio::time::timeout(LONG, self.events.recv()).await;
        assert!(!matches!(next, Ok(Some(_))), "{next:?}");
    }
}

//! The one way to write an actor.
//!
//! Owns the [`Actor`] contract, the [`Context`] an actor acts through, its [`Mailbox`], and the driver
//! that runs it. It must not know what any actor does.
//!
//! An actor is a value that changes only in its three methods, one call at a time, none of which waits
//! for anything: what takes time is a task, started with [`Context::spawn`], whose result comes back as
//! a message. So an actor is never blocked, and its mailbox is never full for long.
//!
//! It fails as a whole: a panic in one of its methods or in one of its tasks ends it, with its timers
//! and its tasks, and its [supervisor](super::supervisor) starts another from the same setup, which the
//! mailbox sends to from then on. Messages that were queued are lost; the reply of a call that was among
//! them is dropped, so the caller sees that.

mod context;
mod driver;
mod mailbox;
mod timers;

pub use context::{Context, Incarnation};
pub use mailbox::{Mailbox, Reply};

pub(super) use driver::spawn;

/// An actor: its state between two messages.
///
/// ```
/// use std::time::Duration;
///
/// use herdsman::supervision::{
///     Actor, Backoff, Child, Context, Mailbox, Reply, RestartPolicy, Supervisor,
/// };
/// use tokio_util::task::TaskTracker;
///
/// /// Adds up what it is told, and forgets it after a second.
/// struct Counter {
///     total: u64,
/// }
///
/// enum Message {
///     Add(u64),
///     Total(Reply<u64>),
/// }
///
/// impl Actor for Counter {
///     type Message = Message;
///     type Timer = ();
///     /// The first total.
///     type Setup = u64;
///
///     fn start(first: u64, context: &mut Context<Self>) -> Self {
///         context.arm((), Duration::from_secs(1));
///         Self { total: first }
///     }
///
///     fn handle(&mut self, message: Message, _: &mut Context<Self>) {
///         match message {
///             Message::Add(amount) => self.total += amount,
///             Message::Total(reply) => {
///                 // The caller may have given up.
///                 let _ = reply.send(self.total);
///             }
///         }
///     }
///
///     fn due(&mut self, (): (), _: &mut Context<Self>) {
///         self.total = 0;
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = RestartPolicy {
///     max: 5,
///     within: Duration::from_secs(30),
///     backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
/// };
/// let mailbox = Mailbox::new();
/// let child = Child::new::<Counter>("counter", &mailbox, 40);
/// let _supervisor = Supervisor::start(policy, TaskTracker::new(), vec![child]).await?;
/// mailbox.cast(Message::Add(2));
/// assert_eq!(mailbox.call(Message::Total).await, Some(42));
/// # Ok(())
/// # }
/// ```
pub trait Actor: Sized + Send + 'static {
    /// What it is told, by others and by its own tasks.
    type Message: Send + 'static;

    /// Names its timers; an actor with one has `()`, one with none [`Infallible`](std::convert::Infallible).
    /// There are at most as many timers as this has values, so it must not have many.
    type Timer: Copy + PartialEq + Send + 'static;

    /// What an incarnation begins with. The same for all of them: what must outlive one of them is
    /// something shared in here.
    type Setup: Clone + Send + 'static;

    /// An incarnation begins. Its mailbox sends to it already, so an answer to whatever is sent from
    /// here reaches it.
    fn start(setup: Self::Setup, context: &mut Context<Self>) -> Self;

    /// A message has arrived.
    fn handle(&mut self, message: Self::Message, context: &mut Context<Self>);

    /// A timer has fired, and is not armed any more.
    fn due(&mut self, timer: Self::Timer, context: &mut Context<Self>);
}

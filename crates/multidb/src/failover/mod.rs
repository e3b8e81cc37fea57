//! Who takes the commands: one task decides, everybody else tells it what happened and sees what it
//! decided.
//!
//! ```text
//!  commands ──failed, and how──▶ ┌──────────┐ ──route──▶ commands
//!  keepers ──connection up/lost▶ │ failover │ ──order──▶ keepers
//!  watchers ──health───────────▶ │          │ ──poke───▶ watchers
//!  callers ──add, remove, force▶ └──────────┘ ──status, events, active──▶ anyone
//! ```
//!
//! `state` decides, purely; `actor` is the task around it, which never waits for anything but
//! its mailbox and the clock: what takes time (a confirmation, closing a connection) is done by
//! others, who tell it the result. So a decision costs microseconds, and a command whose database
//! failed waits for it rather than guessing.
//!
//! One failure is a suspicion and not a verdict: the database is asked at once, out of turn, over
//! another connection, with little time to answer. That is what makes a single failed command enough
//! to leave a dead database, and a single dropped connection not enough to leave a living one.

mod actor;
mod crew;
mod message;
mod publish;
mod state;

use tokio::sync::mpsc;

pub(crate) use actor::{Actor, Ground};
pub(crate) use crew::{Applicant, Manners};
pub(crate) use message::Message;
pub(crate) use state::{Policy, State};

/// The way to the one who decides. Bounded: whoever has something to say waits for room.
pub(crate) type Mailbox = mpsc::Sender<Message>;

/// Messages that may wait.
pub(crate) const MAILBOX: usize = 1024;

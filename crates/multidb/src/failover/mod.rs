//! Which database takes the commands: one task decides; all others send it what happened and read what
//! it decided.
//!
//! ```text
//!  commands ────failed, and how───▶ ┌──────────┐ ──route────▶ commands
//!  connectors ──connection up/lost▶ │ failover │ ──message──▶ connectors
//!  watchers ────health────────────▶ │          │ ──wake─────▶ watchers
//!  callers ─────add, remove, force▶ └──────────┘ ──status, events, active──▶ anyone
//! ```
//!
//! `state` decides, purely; `actor` is the task around it, which never waits for anything but
//! its mailbox and the clock: what takes time (a confirmation, closing a connection) is done by
//! other tasks, which send it the result. So a decision costs microseconds, and a command whose database
//! failed waits for it rather than guessing.
//!
//! One failure is a suspicion and not a decision: the database is asked at once, out of turn, over
//! another connection, with little time to answer. That is what makes a single failed command enough
//! to leave a failed database, and a single dropped connection not enough to leave a healthy one.

mod actor;
mod member_tasks;
mod message;
mod publish;
mod state;

use tokio::sync::mpsc;

pub(crate) use actor::{Actor, ActorContext};
pub(crate) use member_tasks::{MemberOptions, PendingMember};
pub(crate) use message::Message;
pub(crate) use state::{Policy, State};

/// The mailbox of the failover actor. Bounded: senders wait for space.
pub(crate) type Mailbox = mpsc::Sender<Message>;

/// Messages that may wait.
pub(crate) const MAILBOX: usize = 1024;

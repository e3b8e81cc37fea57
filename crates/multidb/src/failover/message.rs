//! Messages to the failover actor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::member_tasks::PendingMember;
use crate::circuit::Episode;
use crate::config::DatabaseConfig;
use crate::database::DatabaseId;
use crate::detector::FailureDetector;
use crate::error::Error;
use crate::health::{HealthCheck, Report};
use crate::member::{Link, LinkId};
use crate::outcome::FailureKind;

/// The reply to a request.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// The decision about a failure has been made; the route says which.
#[derive(Debug)]
pub(crate) struct Settled;

/// The mailbox.
#[derive(Debug)]
pub(crate) enum Message {
    /// From a command: it failed, in a way that counts against the database.
    Failed {
        id: DatabaseId,
        /// The episode it was sent in.
        episode: Episode,
        /// The connection it was sent over.
        link: LinkId,
        kind: FailureKind,
        commands: Arc<str>,
        error: Arc<str>,
        reply: oneshot::Sender<Settled>,
    },
    /// From a command whose caller went away: it had waited longer than an answer takes.
    Waited { id: DatabaseId, episode: Episode },
    /// From a command on a half-open database: it succeeded.
    TrialSucceeded { id: DatabaseId, episode: Episode },
    /// From a connector: there is a connection.
    LinkUp { id: DatabaseId, link: Arc<Link> },
    /// From a connector: it ended by itself.
    LinkLost { id: DatabaseId, link: LinkId },
    /// From a connector: none could be made.
    ConnectFailed {
        id: DatabaseId,
        kind: FailureKind,
        error: Arc<str>,
    },
    /// The answer to a confirmation.
    Confirmed { id: DatabaseId, report: Report },
    /// From a watcher: a round has ended.
    Health { id: DatabaseId, report: Report },
    /// A database more, to be checked first.
    Add {
        config: Box<DatabaseConfig>,
        reply: Reply<DatabaseId>,
    },
    /// The pending has been checked, and is to be added now.
    Checked {
        pending: Box<PendingMember>,
        report: Report,
        reply: Reply<DatabaseId>,
    },
    /// A database less.
    Remove { id: DatabaseId, reply: Reply<()> },
    /// Another weight.
    Weight {
        id: DatabaseId,
        weight: f64,
        reply: Reply<()>,
    },
    /// This one, if it is healthy.
    SetActive { id: DatabaseId, reply: Reply<()> },
    /// It has been asked.
    Probed {
        id: DatabaseId,
        report: Report,
        reply: Reply<()>,
    },
    /// This one.
    Force { id: DatabaseId, reply: Reply<()> },
    /// One more check.
    AddHealthCheck {
        check: Arc<dyn HealthCheck>,
        reply: Reply<()>,
    },
    /// One more detector.
    AddFailureDetector {
        detector: Arc<dyn FailureDetector>,
        reply: Reply<()>,
    },
    /// How often to look for a heavier one.
    SetFallback {
        interval: Option<Duration>,
        reply: Reply<()>,
    },
}

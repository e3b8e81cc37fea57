//! The probes every server gets regularly, and their answers.

use std::time::Duration;

use http::{Method, StatusCode};
use thiserror::Error;

use crate::protocol::{ListedModel, RunningModel, Version};

/// A request that the router regularly sends to a server about the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Is it up? Must be quick on a busy server too.
    Alive,
    /// What has it loaded? May be slow on a healthy server.
    Loaded,
    /// Which models does it have? May be slow too.
    Models,
    /// Which version is it?
    Version,
}

impl Probe {
    /// Every probe, in the order of their timers.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Loaded, Self::Models, Self::Version];
}

/// How a probe is done.
#[derive(Clone, Debug)]
pub enum Plan {
    /// With a request.
    Send(ProbeRequest),
    /// Without one: the configuration says it.
    Known(Vec<ListedModel>),
}

/// The request of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: &'static str,
    /// How long a healthy server may take to answer.
    pub timeout: Duration,
}

/// How long a healthy server may take to answer that it is up.
pub(super) const ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a busy server may take to list things.
pub(super) const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server said about itself.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is up.
    Alive,
    /// What it has loaded.
    Loaded(Vec<RunningModel>),
    /// What it has.
    Models(Vec<ListedModel>),
    /// Which version it is.
    Version(Version),
}

impl Answer {
    /// Takes out the models of one registry.
    pub fn hide(&mut self, host: &str) {
        match self {
            Self::Loaded(models) => models.retain(|model| !model.name.is_under(host)),
            Self::Models(models) => models.retain(|model| !model.name.is_under(host)),
            Self::Alive | Self::Version(_) => {}
        }
    }
}

/// An answer that cannot be used, and why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unusable {
    /// It says nothing.
    #[error("{0}")]
    Useless(String),
    /// With this status it refuses the router, and would refuse its requests as well.
    #[error("{1}: status {0}")]
    Refused(u16, String),
}

impl Unusable {
    /// An error status, and of what.
    pub(super) fn status(status: StatusCode, of: &str) -> Self {
        match status.as_u16() {
            status @ (401..=403 | 407) => Self::Refused(status, of.to_owned()),
            _ => Self::Useless(format!("{of}: status {status}")),
        }
    }
}

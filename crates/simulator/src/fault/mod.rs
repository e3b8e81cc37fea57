//! What can go wrong with a server, and for whom.
//!
//! A [`Fault`] says what happens, a [`Rule`] says to which requests. Rules can be added and cleared
//! while the server runs. Where the fault takes effect is its [`Stage`]; the code of that
//! stage asks the [`Plan`] and applies it, so a fault never needs to know the server.

mod plan;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use plan::Plan;

use super::config::text;

/// A way to fail. `after` counts the tokens of an answer that still come; a streamed answer has
/// sent them, one that is not streamed stops about there in its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Nothing listens: connections are refused, open ones are cut. Until cleared; a rule's model
    /// and count do not apply.
    Refuse,
    /// Connections are accepted and reset at once, requests on open ones likewise.
    ResetOnAccept,
    /// The request is read and never answered.
    Silent,
    /// The response head comes late by this much.
    SlowHeaders {
        /// How late.
        #[serde(with = "text")]
        delay: Duration,
    },
    /// 403 and nothing else, whatever is asked: what a request gets under a host name that the server does
    /// not know.
    Forbid,
    /// `/api/ps` answers late by this much.
    StallPs {
        /// How late.
        #[serde(with = "text")]
        delay: Duration,
    },
    /// `/api/tags` and `/v1/models` answer late by this much.
    StallTags {
        /// How late.
        #[serde(with = "text")]
        delay: Duration,
    },
    /// 403 and nothing else for `/api/ps`; what else is asked is answered.
    ForbidPs,
    /// 403 and nothing else for `/api/tags` and `/v1/models`; what else is asked is answered.
    ForbidTags,
    /// The model is listed, and 404 when it is asked.
    StaleCatalogue,
    /// 503 with Ollama's text, whatever the queue holds.
    Busy,
    /// A cold request fails with 500 after the time of the load. Hot ones are not touched.
    LoadFailure,
    /// 500 in place of the first token.
    InternalError,
    /// 500 in place of the first token, and every model of the server is unloaded.
    OutOfMemory,
    /// The runner crashes: as [`ErrorLine`](Self::ErrorLine), and the model must be loaded again.
    Crash {
        /// Tokens before it.
        after: usize,
    },
    /// An error inside a stream whose status is already 200. `/v1` loses the text, as Ollama does.
    ErrorLine {
        /// Tokens before it.
        after: usize,
    },
    /// The connection is reset inside the answer.
    Reset {
        /// Tokens before it.
        after: usize,
    },
    /// The answer ends in good order without its end: no `done`, no finish reason.
    CleanEnd {
        /// Tokens before it.
        after: usize,
    },
    /// Nothing more comes, and the slot stays busy until the client leaves.
    Stall {
        /// Tokens before it.
        after: usize,
    },
    /// Half of the next line, then the connection is closed.
    HalfLine {
        /// Tokens before it.
        after: usize,
    },
    /// A line that does not end: this many bytes without a newline, then a clean end.
    HugeLine {
        /// Tokens before it.
        after: usize,
        /// Its length.
        bytes: u64,
    },
    /// The answer comes byte by byte.
    Trickle {
        /// Time between two bytes.
        #[serde(with = "text")]
        every: Duration,
    },
    /// The disk is full: a pull or an upload fails when it has so many bytes.
    DiskFull {
        /// So many still fit.
        after: u64,
    },
    /// An upload is read so far, and no further.
    StallUpload {
        /// So many bytes are read.
        after: u64,
    },
    /// The answer is whole, but its slot is never given back.
    LeakSlot,
    /// This answer in place of the first token, as something before the server might give it.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
}

/// At which stage of a request a fault takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The listening socket.
    Listen,
    /// A new connection, or a request on an old one.
    Accept,
    /// A request was read.
    Arrival,
    /// Its headers are checked.
    Guard,
    /// `/api/ps` was asked.
    Ps,
    /// A list of models was asked.
    Tags,
    /// The model is looked up.
    Lookup,
    /// The model is scheduled.
    Schedule,
    /// The model has been loaded.
    Load,
    /// The answer is made.
    Answer,
    /// Bytes are written to the disk.
    Disk,
    /// A blob is read.
    Upload,
}

/// A fault and the requests it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
    /// Only to requests for this model, in any spelling; absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Only to the next so many; absent: until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Fault {
    /// This fault, for requests of one model only.
    #[must_use]
    pub fn on(self, model: impl Into<String>) -> Rule {
        Rule::from(self).on(model)
    }

    /// This fault, for the next `count` requests only.
    #[must_use]
    pub fn next(self, count: u64) -> Rule {
        Rule::from(self).next(count)
    }

    /// Where it takes effect.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Refuse => Stage::Listen,
            Self::ResetOnAccept => Stage::Accept,
            Self::Silent | Self::SlowHeaders { .. } => Stage::Arrival,
            Self::Forbid => Stage::Guard,
            Self::StallPs { .. } | Self::ForbidPs => Stage::Ps,
            Self::StallTags { .. } | Self::ForbidTags => Stage::Tags,
            Self::StaleCatalogue => Stage::Lookup,
            Self::Busy => Stage::Schedule,
            Self::LoadFailure => Stage::Load,
            Self::DiskFull { .. } => Stage::Disk,
            Self::StallUpload { .. } => Stage::Upload,
            Self::InternalError
            | Self::OutOfMemory
            | Self::Crash { .. }
            | Self::ErrorLine { .. }
            | Self::Reset { .. }
            | Self::CleanEnd { .. }
            | Self::Stall { .. }
            | Self::HalfLine { .. }
            | Self::HugeLine { .. }
            | Self::Trickle { .. }
            | Self::LeakSlot
            | Self::Answer { .. } => Stage::Answer,
        }
    }
}

impl Rule {
    /// For requests of one model only.
    #[must_use]
    pub fn on(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// For the next `count` requests only.
    #[must_use]
    pub fn next(mut self, count: u64) -> Self {
        self.next = Some(count);
        self
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            model: None,
            next: None,
        }
    }
}

//! Asking a server about itself.
//!
//! Liveness is asked apart from the catalogues: `/api/ps` and `/api/tags` take locks on the server
//! and may stall for seconds exactly when it is busy, which says nothing about its health.

use std::time::Duration;

use http::{Method, StatusCode};

use super::message::Probe;
use crate::protocol::{ListedModel, RunningModel, Version, parse_ps, parse_tags};
use crate::upstream::{Client, Failure, Target};

/// How long a healthy server may take to say that it is there.
pub(super) const ALIVE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a busy server may take to list things.
const LIST_PATIENCE: Duration = Duration::from_secs(10);
/// No catalogue is this large.
const LIST_LIMIT: usize = 16 << 20;

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// It is there.
    Alive,
    /// What it has loaded.
    Loaded(Vec<RunningModel>),
    /// What it has.
    Models(Vec<ListedModel>),
    /// Which Ollama it is.
    Version(Version),
    /// Nothing usable.
    Nothing(Failure),
}

impl Probe {
    /// Every probe, in the order of their timers.
    pub(super) const ALL: [Self; 4] = [Self::Alive, Self::Loaded, Self::Models, Self::Version];

    fn request(self) -> (Method, &'static str, Duration) {
        match self {
            Self::Alive => (Method::HEAD, "/", ALIVE_PATIENCE),
            Self::Loaded => (Method::GET, "/api/ps", LIST_PATIENCE),
            Self::Models => (Method::GET, "/api/tags", LIST_PATIENCE),
            Self::Version => (Method::GET, "/api/version", LIST_PATIENCE),
        }
    }
}

/// Asks once.
pub(super) async fn ask(client: &Client, target: &Target, probe: Probe) -> Answer {
    let (method, path, patience) = probe.request();
    let (status, body) = match client.ask(target, method, path, patience, LIST_LIMIT).await {
        Ok(answer) => answer,
        Err(failure) => return Answer::Nothing(failure),
    };
    if probe == Probe::Alive {
        // Any answer is a sign of life, but one that says it is broken is not one of health.
        return if status.is_server_error() {
            unusable(status)
        } else {
            Answer::Alive
        };
    }
    if status != StatusCode::OK {
        return unusable(status);
    }
    let garbled = |error: &dyn std::fmt::Display| {
        Answer::Nothing(Failure::Garbled(format!("{path}: {error}")))
    };
    match probe {
        Probe::Loaded => {
            parse_ps(&body).map_or_else(|e| garbled(&e), |list| Answer::Loaded(list.models))
        }
        Probe::Models => {
            parse_tags(&body).map_or_else(|e| garbled(&e), |list| Answer::Models(list.models))
        }
        Probe::Version | Probe::Alive => {
            version(&body).map_or_else(|| garbled(&"no version"), Answer::Version)
        }
    }
}

/// `{"version":"0.12.6"}`
fn version(body: &[u8]) -> Option<Version> {
    #[derive(serde::Deserialize)]
    struct Said {
        version: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    Version::parse(&said.version).ok()
}

fn unusable(status: StatusCode) -> Answer {
    Answer::Nothing(Failure::Garbled(format!("status {status}")))
}

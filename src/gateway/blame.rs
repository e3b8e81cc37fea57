//! The failures of one request, until it is known whose they are.
//!
//! What a server did not answer, or said of itself, counts against it at once. An error that it answered may
//! be the request's own: its server is under suspicion, which others prefer to avoid, until another server
//! has done better (then the suspicion was right) or has answered alike (then those two are not to blame, and one that
//! answered otherwise is).
//! A request that ends without either, because there was no other server or its client left, has
//! shown nothing.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::attempt::Slot;
use super::server_error::ServerError;
use crate::faults::{Comparison, Fault, Fingerprint};
use crate::fleet::{Endpoint, Outcome, Refusable, SlotPool, Suspicion};
use crate::protocol::Api;

/// So many servers may take a request and not answer it in time.
const SILENT: u32 = 2;

/// What servers have failed one request.
#[derive(Debug)]
pub(super) struct Blame {
    api: Api,
    comparison: Comparison,
    suspected: Vec<Suspect>,
    silent: u32,
}

/// A server that answered the request with an error that may be the request's own.
#[derive(Debug)]
struct Suspect {
    endpoint: Arc<Endpoint>,
    suspicion: Suspicion,
    fault: Fault,
    answered: Fingerprint,
    /// It refused the request as a bad one, which each kind of server words in its own way.
    refused: bool,
    /// What it answered says, where another server can do it, that it does not have the API.
    lacks: Option<StatusCode>,
}

/// Whether another server shall be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Another,
    /// It would fail as well, or cost its client as much time again.
    Nothing,
}

impl Blame {
    /// Of a request for this API.
    pub(super) fn of(api: Api) -> Self {
        Self {
            api,
            comparison: Comparison::default(),
            suspected: Vec::new(),
            silent: 0,
        }
    }

    /// The server of this slot has failed the request.
    pub(super) fn failed(&mut self, slot: Slot, fault: Fault, error: &ServerError) -> Next {
        let Some(answered) = error.fingerprint(fault) else {
            slot.end(Outcome::Failed(fault));
            self.silent += u32::from(fault == Fault::Silent);
            return match self.silent < SILENT {
                true => Next::Another,
                false => Next::Nothing,
            };
        };
        if self.comparison.is_alike(slot.endpoint().url(), &answered) {
            // Whoever answered otherwise failed for a reason of its own.
            let mut others = std::mem::take(&mut self.suspected);
            others.retain(|suspect| suspect.answered != answered);
            blame(&others);
            slot.end(Outcome::Done);
            return Next::Nothing;
        }
        if let Some(pool) = slot.pool() {
            let status = error.status();
            let backend = &slot.settings().backend;
            self.suspected.push(Suspect {
                endpoint: Arc::clone(slot.endpoint()),
                suspicion: pool.suspect(),
                fault,
                answered,
                refused: status.is_client_error(),
                lacks: backend.lacks_what_others_have(status).then_some(status),
            });
        }
        // The slot is free while another server is tried.
        slot.end(Outcome::Done);
        Next::Another
    }

    /// Another server has served the request: it was not that.
    pub(super) fn confirm(&mut self) {
        for suspect in self.suspected.drain(..) {
            match suspect.lacks {
                Some(status) => {
                    let pool = Some(suspect.suspicion.pool());
                    lacks(&suspect.endpoint, pool, self.api, status);
                }
                None => suspect.failed(),
            }
        }
    }

    /// No server has answered. Two that fail in different ways fail for reasons of their own.
    pub(super) fn conclude(&mut self) {
        let failed = self.suspected.iter().filter(|suspect| !suspect.refused);
        if failed.count() > 1 {
            blame(&self.suspected);
        }
    }
}

/// These have failed for reasons of their own; a refusal may be one of the request's all the same.
fn blame(suspected: &[Suspect]) {
    let failed = suspected.iter().filter(|suspect| !suspect.refused);
    failed.for_each(Suspect::failed);
}

impl Suspect {
    fn failed(&self) {
        self.endpoint.failed(self.suspicion.pool(), self.fault);
    }
}

/// The server has shown that it does not have the API: at all (405), else perhaps for this model alone.
pub(super) fn lacks(
    endpoint: &Endpoint,
    pool: Option<&Arc<SlotPool>>,
    api: Api,
    status: StatusCode,
) {
    let refusals = match pool {
        Some(pool) if status != StatusCode::METHOD_NOT_ALLOWED => pool.refusals(),
        _ => endpoint.refusals(),
    };
    refusals.note(Refusable::Api(api), Instant::now());
}

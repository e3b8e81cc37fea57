//! The failures of one request, until it is known whose they are.
//!
//! What a server did not answer, or said of itself, counts against it at once. An error that it answered may
//! be the request's own: its server is under suspicion, which others prefer to avoid, until another server
//! has done better (then the suspicion was right) or has answered alike (then nobody is to blame).
//! A request that ends without either, because there was no other server or its client left, has
//! shown nothing.

use std::sync::Arc;

use super::attempt::Slot;
use super::server_error::ServerError;
use crate::faults::{Comparison, Fault};
use crate::fleet::{Endpoint, Outcome, Suspicion};

/// So many servers may take a request and not answer it in time.
const SILENT: u32 = 2;

/// What servers have failed one request.
#[derive(Debug, Default)]
pub(super) struct Blame {
    comparison: Comparison,
    suspected: Vec<(Arc<Endpoint>, Suspicion, Fault)>,
    /// How many different errors were answered.
    answered: usize,
    silent: u32,
}

/// Whether another server shall be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Another,
    /// It would fail as well, or cost its client as much time again.
    Nothing,
}

impl Blame {
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
        if self.comparison.is_alike(slot.endpoint().url(), answered) {
            self.suspected.clear();
            self.answered = 0;
            slot.end(Outcome::Done);
            return Next::Nothing;
        }
        self.answered += 1;
        if let Some(pool) = slot.pool() {
            let endpoint = Arc::clone(slot.endpoint());
            self.suspected.push((endpoint, pool.suspect(), fault));
        }
        // The slot is free while another server is tried.
        slot.end(Outcome::Done);
        Next::Another
    }

    /// Another server has answered: it was not the request.
    pub(super) fn confirm(&mut self) {
        for (endpoint, suspicion, fault) in self.suspected.drain(..) {
            endpoint.failed(suspicion.pool(), fault);
        }
    }

    /// No server has answered. Two that fail in different ways fail for reasons of their own.
    pub(super) fn conclude(&mut self) {
        if self.answered > 1 {
            self.confirm();
        }
    }
}

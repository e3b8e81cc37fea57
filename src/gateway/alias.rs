//! Which model a request gets that names an alias.
//!
//! The first that the caller may use and that a server which is up has; a busy one is waited for. When every server
//! that could be asked for it has failed the request before its first byte, the next one that can be served is
//! tried, within the same number of attempts: an operator who names two models wants an answer of the second rather
//! than an error. From then on the request is one for that model: limits, prices and counts are those
//! of its real name.

use std::sync::Arc;

use super::prepared::Prepared;
use super::{Error, Gateway};
use crate::access::Reservation;
use crate::fleet::AliasTarget;
use crate::protocol::Unload;

impl Gateway {
    /// Makes of a request for an alias one for a model.
    pub(super) fn resolve(&self, prepared: &mut Prepared) -> Result<(), Error> {
        let Some(alias) = self.fleet.alias(&prepared.lease_request.model) else {
            return Ok(());
        };
        let scope = self.access.scope(&prepared.caller)?;
        prepared.servers = scope.servers();
        let targets = alias.targets.iter();
        let permitted = targets.filter(|target| scope.shows(&target.name));
        prepared.alternatives = permitted.cloned().collect();
        if prepared.alternatives.is_empty() {
            // Its refusal is the answer.
            prepared.alternatives = alias.targets.iter().take(1).cloned().collect();
        }
        if !self.next_model(prepared) {
            // None can be served now: what is said is about one that could be at times.
            let view = self.fleet.view();
            let mut targets = prepared.alternatives.iter();
            let known = targets.position(|target| view.model(&target.name).is_some());
            let target = prepared.alternatives.swap_remove(known.unwrap_or(0));
            prepared.alternatives.clear();
            prepared.rename(&target);
        }
        Ok(())
    }

    /// The servers of its model have all failed the request, or are gone: goes on with the next model of the alias
    /// that can be served, if it named one.
    pub(super) async fn fall_back(
        &self,
        prepared: &mut Prepared,
        reservation: &mut Option<Reservation>,
    ) -> Result<bool, Error> {
        if prepared.alternatives.is_empty() || prepared.request.unload == Unload::Only {
            return Ok(false);
        }
        let failed = prepared.lease_request.model.clone();
        // A server that has failed one model may serve another; one that is down is not asked.
        prepared.lease_request.tried.clear();
        if !self.next_model(prepared) {
            return Ok(false);
        }
        let model = &prepared.lease_request.model;
        tracing::info!(%failed, %model, "no server is left for a model: its alias has another one");
        // What was held was for the other model, at its price.
        *reservation = None;
        *reservation = Some(self.admit(prepared).await?);
        Ok(true)
    }

    fn next_model(&self, prepared: &mut Prepared) -> bool {
        let mut targets = prepared.alternatives.iter();
        let request = &mut prepared.lease_request;
        let reached = targets.position(|target| {
            // Each has terms of its own.
            request.within.clone_from(&prepared.servers);
            if let Some(terms) = self.terms.of(&target.name) {
                request.within.extend(terms.within);
            }
            self.fleet.reaches(&target.name, request) || self.may_be_in_cloud(&target.name, request)
        });
        let Some(at) = reached else {
            return false;
        };
        let target = prepared.alternatives.drain(..=at).next_back();
        if let Some(target) = target {
            prepared.rename(&target);
        }
        true
    }
}

impl Prepared {
    fn rename(&mut self, target: &AliasTarget) {
        self.lease_request.model = target.name.clone();
        let request = Arc::make_mut(&mut self.request);
        request.model = (*target.spelling).to_owned();
        request.aliased = true;
    }
}

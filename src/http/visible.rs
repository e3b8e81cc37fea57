//! Who may see lists and counts, and what of them.
//!
//! Where inference needs a key, so does looking: which models there are, who uses them and where the servers
//! are is not for everybody either. Whoever shows a key sees what it may use, and whoever shows the admin key
//! all there is. What stays open without a key is what programs need that have none: whether the router
//! lives, is ready and serves, and its metrics.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::request::Parts;

use super::error::Refusal;
use super::{State, credentials, request_id};
use crate::access::Scope;
use crate::domain::ModelName;
use crate::fleet::{Endpoint, Fleet, Observed};
use crate::gateway::Error;
use crate::protocol::Dialect;

/// What the caller may see; whoever may see nothing is refused in the dialect of the path.
pub(super) struct Visible(pub(super) Sight);

/// The models that the caller may use, on servers that it may use.
pub(super) struct Sight {
    scope: Scope,
    servers: Vec<Arc<[String]>>,
    fleet: Fleet,
}

impl Sight {
    fn new(scope: Scope, state: &State) -> Self {
        Self {
            servers: scope.servers(),
            scope,
            fleet: state.gateway.fleet().clone(),
        }
    }

    /// What whoever sends these headers may see now.
    pub(super) fn of(headers: &HeaderMap, state: &State) -> Result<Self, Error> {
        if state.admin.is_shown(headers) {
            return Ok(Self::new(Scope::everything(), state));
        }
        let key = credentials::of(headers);
        let caller = state.gateway.identify(key.as_deref())?;
        Ok(Self::new(state.access.scope(&caller)?, state))
    }

    /// Whether nothing is left out.
    pub(super) fn is_everything(&self) -> bool {
        self.scope.is_everything()
    }

    /// Whether the caller may use the model.
    pub(super) fn shows(&self, model: &ModelName) -> bool {
        self.scope.shows(model)
            && (self.servers.is_empty() || self.fleet.view().is_within(model, &self.servers))
    }

    /// Whether the caller may use the model on this server.
    pub(super) fn shows_on(&self, server: &Endpoint, model: &ModelName) -> bool {
        self.scope.shows(model) && self.is_within(|name| server.is_called(name))
    }

    /// Whether the caller may use the server, which has a model that it may use.
    pub(super) fn shows_server(&self, server: &Observed) -> bool {
        let mut models = server.models.iter().flat_map(|models| models.iter());
        self.is_everything()
            || (self.is_within(|name| server.is_called(name))
                && models.any(|model| self.scope.shows(&model.name)))
    }

    fn is_within(&self, is_called: impl Fn(&str) -> bool) -> bool {
        let mut lists = self.servers.iter();
        lists.all(|names| names.iter().any(|name| is_called(name)))
    }
}

impl FromRequestParts<State> for Visible {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        Sight::of(&parts.headers, state).map(Self).map_err(|error| {
            let dialect = Dialect::of(parts.uri.path());
            Refusal::gateway(dialect, error, request_id::of(&parts.headers)).into_response()
        })
    }
}

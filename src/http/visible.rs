//! Who may see lists and counts, and what of them.
//!
//! Where inference needs a key, so does looking: which models there are, who uses them and where the servers
//! are is not for everybody either. Whoever shows a key sees what it may use, and whoever shows the admin key
//! all there is. What stays open without a key is what programs need that have none: whether the router
//! lives, is ready and serves, and its metrics.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use super::error::Refusal;
use super::{State, credentials, request_id};
use crate::access::Scope;
use crate::domain::ModelName;
use crate::fleet::Fleet;
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

    /// Whether nothing is left out.
    pub(super) fn is_everything(&self) -> bool {
        self.scope.is_everything()
    }

    /// Whether the caller may use the model.
    pub(super) fn shows(&self, model: &ModelName) -> bool {
        self.scope.shows(model)
            && (self.servers.is_empty() || self.fleet.view().is_within(model, &self.servers))
    }
}

impl FromRequestParts<State> for Visible {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        if state.admin.is_shown(&parts.headers) {
            return Ok(Self(Sight::new(Scope::everything(), state)));
        }
        let key = credentials::of(&parts.headers);
        let caller = state.gateway.identify(key.as_deref());
        let scope = caller.and_then(|caller| Ok(state.access.scope(&caller)?));
        let visible = scope.map(|scope| Self(Sight::new(scope, state)));
        visible.map_err(|error: Error| {
            let dialect = Dialect::of(parts.uri.path());
            Refusal::gateway(dialect, error, request_id::of(&parts.headers)).into_response()
        })
    }
}

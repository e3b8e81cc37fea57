//! Who may change which models the servers have.
//!
//! By `access.management`: this machine itself, the admin key, and keys that say `manage`; or whoever may use the
//! models; or nobody. Whoever is limited to some models manages those and no others.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::admin::{Admin, Peer};
use super::error::Refusal;
use super::{State, credentials, request_id};
use crate::access::Scope;
use crate::config::Management;
use crate::gateway::Error;
use crate::protocol::Dialect;

/// The rule. Clones share it.
#[derive(Clone, Debug)]
pub struct Managers {
    admin: Admin,
    rule: Arc<ArcSwap<Management>>,
}

/// A caller who may, and the models that it may use.
pub(super) struct Manager(pub(super) Scope);

impl Managers {
    /// By this rule.
    #[must_use]
    pub fn new(admin: Admin, rule: Management) -> Self {
        Self {
            admin,
            rule: Arc::new(ArcSwap::from_pointee(rule)),
        }
    }

    /// From now on by this one.
    pub fn set_rule(&self, rule: Management) {
        self.rule.store(Arc::new(rule));
    }

    /// Nobody may.
    pub(super) fn is_off(&self) -> bool {
        **self.rule.load() == Management::Off
    }
}

/// What is said where nobody may.
pub(super) const OFF: &str =
    "models are not managed through this router: access.management is \"off\"";
const NOT_YOU: &str = "models are managed from the router's own machine, with its admin key, or with a key that \
                       may: access.management is \"admin\"";

impl FromRequestParts<State> for Manager {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let managers = &state.managers;
        let refused = |text: &str| Refusal::ollama(StatusCode::FORBIDDEN, text).into_response();
        if managers.is_off() {
            return Err(refused(OFF));
        }
        let peer = parts.extensions.get::<Peer>().copied();
        if managers.admin.trusts(&parts.headers, peer) {
            return Ok(Self(Scope::everything()));
        }
        let key = credentials::of(&parts.headers);
        let caller = state.gateway.identify(key.as_deref());
        let known = caller.and_then(|caller| {
            let scope = state.access.scope(&caller)?;
            Ok((caller.may_manage(), scope))
        });
        let (may_manage, scope) = known.map_err(|error: Error| {
            let id = request_id::of(&parts.headers);
            Refusal::gateway(Dialect::Ollama, error, id).into_response()
        })?;
        match may_manage || **managers.rule.load() == Management::Open {
            true => Ok(Self(scope)),
            false => Err(refused(NOT_YOU)),
        }
    }
}

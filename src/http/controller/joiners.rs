//! Who may register.
//!
//! With `access.join_key`: whoever shows it, as a bearer or in the path. Without one: this machine itself.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::reply::detail;
use crate::http::State;
use crate::http::admin::{Admin, Peer};

/// The rule. Clones share it.
#[derive(Clone, Debug)]
pub struct Joiners(Admin);

/// Whoever asks may.
pub(super) struct Joiner;

impl Joiners {
    /// With this key; the empty one is none.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(Admin::new(key))
    }

    /// From now on this key is needed.
    pub fn set_key(&self, key: &str) {
        self.0.set_key(key);
    }
}

impl FromRequestParts<State> for Joiner {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let in_path = RawPathParams::from_request_parts(parts, state).await;
        let in_path = in_path.ok().and_then(|names| {
            let mut names = names.iter();
            names.find_map(|(name, value)| (name == "key").then(|| value.to_owned()))
        });
        let peer = parts.extensions.get::<Peer>().copied();
        let joiners = &state.joiners.0;
        if joiners.opens(&parts.headers, in_path.as_deref(), peer) {
            return Ok(Self);
        }
        if !joiners.has_key() {
            let text = "without access.join_key, only this router's own machine may register";
            return Err(detail(StatusCode::FORBIDDEN, text).into_response());
        }
        let text =
            "the join key is needed: as `Authorization: Bearer`, or in the address as /k/KEY";
        let mut refused = detail(StatusCode::UNAUTHORIZED, text).into_response();
        let bearer = HeaderValue::from_static("Bearer");
        refused.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        Err(refused)
    }
}

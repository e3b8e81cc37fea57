//! Tells those who watch what an operator did: every call that changed something, by whom it was made.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;

use super::happened::{Action, Actions};
use crate::http::admin::guard::Peer;

/// What was done, where the call and the names in its path do not say it; in the extensions of an answer.
#[derive(Clone, Debug)]
pub(in crate::http::admin) struct Did {
    /// In place of what the call is for.
    pub(in crate::http::admin) what: Option<&'static str>,
    /// With which of all.
    pub(in crate::http::admin) of: String,
}

impl Did {
    /// Made this one.
    pub(in crate::http::admin) fn to(of: impl Into<String>) -> Self {
        Self {
            what: None,
            of: of.into(),
        }
    }

    /// With the answer to it.
    pub(in crate::http::admin) fn answered(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }
}

/// Around a call that changes something: `what`, in a few words.
pub(in crate::http::admin) async fn tell(
    Shared((actions, what)): Shared<(Actions, &'static str)>,
    named: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>();
    let by = peer.and_then(|peer| peer.from.address());
    let mut answer = next.run(request).await;
    if answer.status().is_success() {
        // A path that cannot be read is refused by the call itself.
        let named = || named.iter().flat_map(|named| named.iter());
        let names = || named().map(|(_, name)| name).collect::<Vec<_>>();
        let did = answer.extensions_mut().remove::<Did>();
        let Did { what: other, of } = did.unwrap_or_else(|| Did::to(names().join("/")));
        let what = other.unwrap_or(what);
        actions.done(Action { what, of, by });
    }
    answer
}

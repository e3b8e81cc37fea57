//! Who has made an admin call whose answer does not end: what it may is asked again while it lasts.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use super::guard::{Admin, Peer};

/// Whoever has made the call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    headers: HeaderMap,
    peer: Option<Peer>,
}

impl Caller {
    /// Whether it still may.
    pub(super) fn may(&self, admin: &Admin) -> bool {
        admin.authorize(&self.headers, self.peer).is_ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            headers: parts.headers.clone(),
            peer: parts.extensions.get::<Peer>().copied(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_shown_a_key_that_is_no_longer_the_admin_key_may_no_longer() {
        let admin = Admin::new("old");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer old".parse().unwrap());
        let caller = Caller {
            headers,
            peer: None,
        };
        assert!(caller.may(&admin));
        admin.set_key("new");
        assert!(!caller.may(&admin));
    }
}

//! Where a server is, prepared so that a request has nothing left to build.

use http::HeaderValue;
use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme, Uri};
use thiserror::Error;

use crate::protocol::Api;

/// One server's address, with the URI of every inference call ready.
#[derive(Clone, Debug)]
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    calls: Box<[Uri]>,
    authorization: Option<HeaderValue>,
}

/// The configured URL or key cannot be used in an HTTP request.
#[derive(Debug, Error)]
pub enum InvalidTarget {
    /// No scheme or no host.
    #[error("`{0}` is not an absolute URL")]
    NotAbsolute(Uri),
    /// A path that does not make a URI.
    #[error(transparent)]
    Path(#[from] InvalidUri),
    /// Scheme, host and path that do not go together.
    #[error(transparent)]
    Parts(#[from] http::Error),
    /// A key with characters a header cannot carry.
    #[error("the API key cannot be sent in a header")]
    Key,
}

impl Target {
    /// Prepares the address `base` (a path prefix is kept) with the key sent there, if any.
    ///
    /// # Errors
    /// [`InvalidTarget`] when no request could ever be built from it.
    pub fn new(base: &Uri, api_key: &str) -> Result<Self, InvalidTarget> {
        let absolute = || InvalidTarget::NotAbsolute(base.clone());
        let mut target = Self {
            scheme: base.scheme().cloned().ok_or_else(absolute)?,
            authority: base.authority().cloned().ok_or_else(absolute)?,
            prefix: base.path().trim_end_matches('/').to_owned(),
            calls: Box::default(),
            authorization: None,
        };
        if !api_key.is_empty() {
            let mut value = HeaderValue::try_from(format!("Bearer {api_key}"))
                .map_err(|_| InvalidTarget::Key)?;
            value.set_sensitive(true);
            target.authorization = Some(value);
        }
        target.calls = Api::ALL
            .iter()
            .map(|api| target.uri(api.path()))
            .collect::<Result<_, _>>()?;
        Ok(target)
    }

    /// The URI of one inference call.
    pub(super) fn call(&self, api: Api) -> Uri {
        self.calls[api as usize].clone()
    }

    /// The URI of any path of this server.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, InvalidTarget> {
        let path = PathAndQuery::try_from(format!("{}{path}", self.prefix))?;
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        Ok(uri)
    }

    /// The key to send, if the server wants one.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }
}

//! Where a server is, prepared so that a request has nothing left to build.

use http::HeaderValue;
use http::uri::{InvalidUri, Uri};
use thiserror::Error;

use crate::protocol::Api;

/// One server's address and key, with the URI of every inference API ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    base: Uri,
    host: HeaderValue,
    prefix: String,
    inference_uris: Box<[Uri]>,
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
    /// A host or a key with characters a header cannot carry.
    #[error("the {0} cannot be sent in a header")]
    Header(&'static str),
}

impl Target {
    /// Prepares the address `base` (a path prefix is kept) with the key sent there, if any.
    ///
    /// # Errors
    /// [`InvalidTarget`] when no request could ever be built from it.
    pub fn new(base: &Uri, api_key: &str) -> Result<Self, InvalidTarget> {
        let absolute = || InvalidTarget::NotAbsolute(base.clone());
        base.scheme().ok_or_else(absolute)?;
        let authority = base.authority().ok_or_else(absolute)?;
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| InvalidTarget::Header("host name"))?;
        let mut target = Self {
            base: base.clone(),
            host,
            prefix: base.path().trim_end_matches('/').to_owned(),
            inference_uris: Box::default(),
            authorization: None,
        };
        if !api_key.is_empty() {
            let mut value = HeaderValue::try_from(format!("Bearer {api_key}"))
                .map_err(|_| InvalidTarget::Header("API key"))?;
            value.set_sensitive(true);
            target.authorization = Some(value);
        }
        target.inference_uris = Api::ALL
            .iter()
            .map(|api| target.uri(api.path()))
            .collect::<Result<_, _>>()?;
        Ok(target)
    }

    /// Whether both lead to the same server, whatever the key.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        (&self.base.scheme(), &self.host, &self.prefix)
            == (&other.base.scheme(), &other.host, &other.prefix)
    }

    /// The same for all addresses of this server: scheme, host and prefix.
    #[must_use]
    pub fn identity(&self) -> String {
        let scheme = self.base.scheme_str().unwrap_or_default();
        let host = String::from_utf8_lossy(self.host.as_bytes()).to_ascii_lowercase();
        format!("{scheme}://{host}{}", self.prefix)
    }

    /// The request target of one inference API.
    pub(super) fn inference_uri(&self, api: Api) -> Uri {
        self.inference_uris[api as usize].clone()
    }

    /// The request target of any path of this server.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, InvalidTarget> {
        Ok(Uri::try_from(format!("{}{path}", self.prefix))?)
    }

    /// Where to connect to.
    pub(super) fn base(&self) -> &Uri {
        &self.base
    }

    /// The server's own name: it refuses others.
    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// The key to send, if the server wants one.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }
}

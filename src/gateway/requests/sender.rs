//! From where a request comes, as far as is known.

use std::net::IpAddr;

use serde::Serialize;

/// Who sends a request, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The client's address; `None` when a trusted proxy says none.
    pub address: Option<IpAddr>,
    /// How the client speaks to whoever it has connected to.
    pub scheme: Scheme,
}

/// In the clear, or encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

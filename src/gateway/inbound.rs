//! A request as the gateway takes it.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use thiserror::Error;

use crate::access::Caller;
use crate::protocol::Api;

/// One inference request, its body whole.
#[derive(Debug)]
pub struct Inbound {
    /// Which API is called.
    pub api: Api,
    /// The client's headers, less those that are the router's own.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The request's id, the client's own if it gave one.
    pub id: HeaderValue,
    /// Who sent it.
    pub caller: Caller,
    /// The tags the client gave it, as it wrote them.
    pub tags: String,
    /// The servers the client asks for, by name; empty for any.
    pub only: Result<Vec<Box<str>>, NoEndpoints>,
}

const ENDPOINTS: &str = "x-herdsman-endpoints";
const TAGS: &str = "x-herdsman-tags";
/// Where clients put keys that are the router's to read, besides `Authorization`.
const API_KEYS: [&str; 2] = ["x-api-key", "api-key"];
pub(super) const REQUEST_ID: &str = "x-request-id";

impl Inbound {
    /// Takes out of the headers what is the router's own.
    #[must_use]
    pub fn new(
        api: Api,
        mut headers: HeaderMap,
        body: Bytes,
        id: HeaderValue,
        caller: Caller,
    ) -> Self {
        let only = named_endpoints(&headers);
        headers.remove(ENDPOINTS);
        let tags = headers.remove(TAGS);
        // Not text: then no list of tags either, which is said when they are read.
        let tags = tags.map(|tags| tags.to_str().unwrap_or("\0").to_owned());
        for key in API_KEYS {
            headers.remove(key);
        }
        headers.insert(REQUEST_ID, id.clone());
        Self {
            api,
            headers,
            body,
            id,
            caller,
            tags: tags.unwrap_or_default(),
            only,
        }
    }
}

/// A list of servers that is no text or names none: it is not known which are meant, and certainly not all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the list of servers names none: name some, as in 'gpu-1,gpu-2', or leave it out")]
pub struct NoEndpoints;

/// The servers that a client names in its headers; none without such a header.
///
/// # Errors
/// [`NoEndpoints`], when it has one without a name in it.
pub fn named_endpoints(headers: &HeaderMap) -> Result<Vec<Box<str>>, NoEndpoints> {
    let mut only = Vec::new();
    for list in headers.get_all(ENDPOINTS) {
        only.extend(endpoint_names(list.to_str().map_err(|_| NoEndpoints)?)?);
    }
    Ok(only)
}

/// The servers that a client names in a list.
///
/// # Errors
/// [`NoEndpoints`], when there is no name in it.
pub fn endpoint_names(list: &str) -> Result<Vec<Box<str>>, NoEndpoints> {
    let names = list.split(',').map(str::trim);
    let names: Vec<Box<str>> = names
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect();
    match names.is_empty() {
        true => Err(NoEndpoints),
        false => Ok(names),
    }
}

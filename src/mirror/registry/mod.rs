//! The registry that models come from.
//!
//! Owns how it is asked: paths, redirects up to a bound, how long it may be silent, and what its answers have to say.
//! It sends no credentials: what Ollama's own registry gives to everybody can be mirrored, and no more. It must not
//! know what is kept of the answers. It fails by value.

mod address;

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use address::Address;

use super::digest::Digest;
use super::error::Error;
use super::manifest::{self, Manifest};
use super::repository::{Reference, Repository};
use crate::upstream::{AnswerBody, Client};

/// Longer than a page waits for anything, and short enough to begin anew.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// As many as Ollama follows.
const MOST_REDIRECTS: usize = 10;

/// Some that are before registries refuse whoever does not say what it is.
const OURS: HeaderValue = HeaderValue::from_static(concat!("herdsman/", env!("CARGO_PKG_VERSION")));

static CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How it is asked. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    client: Client,
    root: Address,
}

/// A blob, or the rest of one.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Where it begins.
    pub(super) from: u64,
    /// How long the whole blob is, if the registry says so.
    pub(super) total: Option<u64>,
    pub(super) body: AnswerBody,
}

impl Registry {
    /// The registry at this URL.
    pub(super) fn new(root: &str, client: Client) -> Option<Self> {
        // What is joined to it takes the place of what stands behind its last slash.
        let root = Address::parse(&format!("{}/", root.trim_end_matches('/')))?;
        Some(Self { client, root })
    }

    /// What a model is made of.
    pub(super) async fn manifest(&self, of: &Reference) -> Result<Manifest, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, manifest::MEDIA_TYPE);
        let path = format!("v2/{}/manifests/{}", of.repository, of.tag);
        let (head, body) = self.get(&path, headers).await?.into_parts();
        let body = Limited::new(body, manifest::LONGEST).collect();
        let body = timeout(SILENCE, body).await.map_err(Error::away)?;
        let body = body.map_err(Error::away)?.to_bytes();
        check_digest(&head.headers, &body)?;
        let media_type = head.headers.get(CONTENT_TYPE).cloned();
        let media_type = media_type.filter(|kind| kind.as_bytes().starts_with(b"application/vnd."));
        Manifest::read(body, media_type.unwrap_or(manifest::MEDIA_TYPE))
    }

    /// A blob from this byte on, or all of it, whichever the registry gives.
    pub(super) async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: u64,
    ) -> Result<Fetched, Error> {
        let mut headers = HeaderMap::new();
        if let Ok(range) = HeaderValue::try_from(format!("bytes={from}-")) {
            headers.insert(RANGE, range);
        }
        let path = format!("v2/{repository}/blobs/{digest}");
        let (head, body) = self.get(&path, headers).await?.into_parts();
        let (from, total) = match head.status {
            StatusCode::PARTIAL_CONTENT => range(&head.headers)?,
            _ => (0, length(&head.headers)),
        };
        Ok(Fetched { from, total, body })
    }

    /// The head of an answer that is one.
    async fn get(&self, path: &str, mut headers: HeaderMap) -> Result<Response<AnswerBody>, Error> {
        headers.insert(USER_AGENT, OURS);
        let empty = Bytes::new();
        let mut address = self.root.join(path).ok_or_else(|| Error::garbled(path))?;
        for _ in 0..=MOST_REDIRECTS {
            let remote = address.remote(&self.client).map_err(Error::garbled)?;
            let path = address.path_and_query();
            let sent = self
                .client
                .send_to(&remote, &Method::GET, path, &headers, &empty);
            let answer = timeout(SILENCE, sent).await.map_err(Error::away)??;
            let status = answer.status();
            match status.as_u16() {
                200 | 206 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => {
                    let next = redirected(&address, answer.headers())?;
                    if next == address {
                        return Err(Error::Redirects(format!("{address} to itself").into()));
                    }
                    address = next;
                }
                404 => return Err(Error::NotThere),
                status => return Err(Error::Refused(status)),
            }
        }
        Err(Error::Redirects(format!("last to {address}").into()))
    }
}

/// Where a redirect leads: nowhere with less protection than where it comes from.
fn redirected(from: &Address, headers: &HeaderMap) -> Result<Address, Error> {
    let location = headers.get(LOCATION).and_then(|to| to.to_str().ok());
    let to = location.and_then(|location| from.join(location));
    let to = to.ok_or_else(|| Error::garbled("a redirect to no address"))?;
    match from.is_encrypted() && !to.is_encrypted() {
        true => Err(Error::garbled("a redirect from https to http")),
        false => Ok(to),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// `bytes 5-9/10`: where it begins, and how long the whole is.
fn range(headers: &HeaderMap) -> Result<(u64, Option<u64>), Error> {
    let read = || {
        let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (from, _) = range.split_once('-')?;
        Some((from.trim().parse().ok()?, total.trim().parse().ok()))
    };
    read().ok_or_else(|| Error::garbled("a part of a blob that does not say which"))
}

/// What the registry says of its own answer.
fn check_digest(headers: &HeaderMap, body: &Bytes) -> Result<(), Error> {
    let said = headers.get(&CONTENT_DIGEST);
    let said = said.and_then(|said| Digest::parse(said.to_str().ok()?));
    let found = Digest::of(Sha256::new_with_prefix(body));
    match said {
        Some(digest) if digest != found => Err(Error::Lied { digest, found }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_part_says_where_it_begins() {
        let read = |text| range(&headers(CONTENT_RANGE, text));
        assert_eq!(read("bytes 5-9/10"), Ok((5, Some(10))));
        assert_eq!(read("bytes 5-9/*"), Ok((5, None)));
        for wrong in ["", "5-9/10", "bytes */10", "bytes x-9/10"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_protection() {
        let from = Address::parse("https://r.test/v2/x").unwrap();
        let to = |location| redirected(&from, &headers(LOCATION, location));
        assert_eq!(
            to("https://cdn.test/b?x=1").unwrap().path_and_query(),
            "/b?x=1"
        );
        assert_eq!(
            to("/y").unwrap(),
            Address::parse("https://r.test/y").unwrap()
        );
        assert!(to("http://cdn.test/b").is_err());
        assert!(to("ftp://cdn.test/b").is_err());
        assert!(redirected(&from, &HeaderMap::new()).is_err());
    }
}

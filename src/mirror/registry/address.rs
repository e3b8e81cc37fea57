//! Where something is: a URL that can be asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use url::Url;

use crate::upstream::{Client, Remote, Target};

/// An absolute URL of `http` or `https`, without a user or a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address(Url);

impl Address {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of(Url::parse(text).ok()?)
    }

    /// What a link means that stands here.
    pub(super) fn join(&self, link: &str) -> Option<Self> {
        Self::of(self.0.join(link).ok()?)
    }

    fn of(mut url: Url) -> Option<Self> {
        let can_be_asked = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none();
        url.set_fragment(None);
        can_be_asked.then_some(Self(url))
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// A connection there, for one request.
    pub(super) fn remote(&self, client: &Client) -> Result<Remote, String> {
        let root = self.0[..url::Position::BeforePath].parse::<Uri>();
        let root = root.map_err(|error| format!("{self}: {error}"))?;
        let target = Target::new(&root, "").map_err(|error| error.to_string())?;
        Ok(Remote {
            target: Arc::new(target),
            connections: client.connections(Duration::ZERO),
        })
    }
}

/// Without its query: that of a signed address is as good as a password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..url::Position::AfterPath])
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_from_where_it_stands_and_signatures_are_not_shown() {
        let root = Address::parse("http://r.test:5000/mirror/").unwrap();
        let blob = root.join("v2/a/b/blobs/sha256:0").unwrap();
        assert_eq!(blob.path_and_query(), "/mirror/v2/a/b/blobs/sha256:0");
        let signed = blob.join("https://cdn.test/x?sig=1#f").unwrap();
        assert_eq!(signed.path_and_query(), "/x?sig=1");
        assert!(!signed.to_string().contains("sig"));
        assert_eq!(blob.join("file:///etc/passwd"), None);
        assert_eq!(blob.join("data:,x"), None);
        assert_eq!(blob.join("https://u:p@cdn.test/x"), None);
    }
}

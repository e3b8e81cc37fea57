//! Is it the request, or the server? Two servers that say the same say it of the request.
//!
//! A request that no server can serve fails on each it is sent to. Blaming them for it would take the
//! model away from everybody else. So an error that a server *answered* counts against it only when
//! another server did better, or failed in another way; with the same status and the same
//! text from two of them it is the request's own. What was not answered, and what speaks of the server's
//! state, is never compared: being refused, broken, silent, busy, or unable to load.

use std::sync::Arc;

/// The statuses of an answer that may be about the request.
const COMPARABLE: [u16; 5] = [400, 413, 422, 500, 501];

/// What a server answered, as far as two servers can be expected to answer alike: digits are left out,
/// since ports, sizes, times and process ids differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    status: u16,
    text: Vec<u8>,
}

/// The errors that servers have answered one request with.
#[derive(Debug, Default)]
pub struct Comparison {
    seen: Vec<(Arc<str>, Fingerprint)>,
}

impl Fingerprint {
    /// `None` for a status that is about the server in any case.
    #[must_use]
    pub fn of(status: u16, body: &[u8]) -> Option<Self> {
        COMPARABLE.contains(&status).then(|| Self {
            status,
            text: body
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_digit())
                .collect(),
        })
    }
}

impl Comparison {
    /// Adds what the server at `url` answered; says whether another one has answered the same before. One
    /// that has been removed and added again is the same server.
    pub fn is_alike(&mut self, url: &Arc<str>, answered: &Fingerprint) -> bool {
        let mut others = self.seen.iter().filter(|(other, _)| other != url);
        let alike = others.any(|(_, other)| other == answered);
        if !alike {
            self.seen.push((Arc::clone(url), answered.clone()));
        }
        alike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: (u16, &str), other: (u16, &str)) -> bool {
        alike_at(["http://a", "http://b"], one, other)
    }

    fn alike_at(urls: [&str; 2], one: (u16, &str), other: (u16, &str)) -> bool {
        let mut comparison = Comparison::default();
        let mut said = |url: &str, (status, text): (u16, &str)| {
            let said = Fingerprint::of(status, text.as_bytes());
            said.is_some_and(|said| comparison.is_alike(&url.into(), &said))
        };
        assert!(!said(urls[0], one), "the first has nothing to be like");
        said(urls[1], other)
    }

    #[test]
    fn a_server_is_not_compared_with_itself() {
        assert!(!alike_at(["http://a"; 2], (500, "x"), (500, "x")));
    }

    #[test]
    fn the_same_status_and_text_is_alike_whatever_its_digits() {
        assert!(alike((500, "bad template"), (500, "bad template")));
        assert!(alike((500, "port 4711: EOF"), (500, "port 81: EOF")));
        for status in [400, 413, 422, 500, 501] {
            assert!(alike((status, "x"), (status, "x")));
        }
    }

    #[test]
    fn another_status_or_text_is_not_alike() {
        assert!(!alike((500, "one"), (500, "other")));
        assert!(!alike((500, "one"), (501, "one")));
    }

    #[test]
    fn what_is_about_the_server_is_never_alike() {
        for status in [401, 403, 404, 408, 429, 499, 502, 503, 504] {
            assert!(!alike((status, "x"), (status, "x")));
        }
    }
}

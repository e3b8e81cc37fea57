//! Which headers are forwarded, and which belong to one connection or one side only.

use http::header::{
    ACCEPT_ENCODING, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER,
    SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The headers of a client's request that a server gets. Its own name and key are still missing.
///
/// Left out, besides the hop-by-hop headers: `Origin` and `Referer`, because Ollama answers 403 to
/// origins it does not know and the router has checked them already; `Accept-Encoding`, because the
/// router reads the answer, and so asks for `identity` in its place; the client's credentials, which are for the router; and `Host`, which names the server being called.
///
/// Copying what goes on is cheaper than copying all and removing most of it.
#[must_use]
pub(super) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(headers);
    let mut forwarded = HeaderMap::with_capacity(headers.len() + 3);
    forwarded.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in headers {
        if !is_hop_by_hop(name) && !is_the_routers(name) && !is_named(named.as_deref(), name) {
            forwarded.append(name, value.clone());
        }
    }
    forwarded
}

/// Removes what a server says to the router alone.
pub fn strip_response(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let unwanted = |name: &HeaderName| {
        is_hop_by_hop(name)
            || name == SERVER
            || name == SET_COOKIE
            || name == ALT_SVC
            || name == STRICT_TRANSPORT_SECURITY
            || is_named(named.as_deref(), name)
    };
    // Two or three of half a dozen: found by one look at each, not by one search for each there is.
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        headers.remove(name);
    }
}

fn is_the_routers(name: &HeaderName) -> bool {
    [
        ACCEPT_ENCODING,
        AUTHORIZATION,
        CONTENT_LENGTH,
        COOKIE,
        EXPECT,
        HOST,
        ORIGIN,
        REFERER,
    ]
    .contains(name)
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || *name == KEEP_ALIVE
}

/// What `Connection` names belongs to the connection, unless it only says how that ends.
fn named_by_connection(headers: &HeaderMap) -> Option<Box<str>> {
    let named = headers.get(CONNECTION)?.to_str().ok()?;
    let plain = ["close", "keep-alive"]
        .iter()
        .any(|word| named.eq_ignore_ascii_case(word));
    (!plain).then(|| named.into())
}

fn is_named(named: Option<&str>, name: &HeaderName) -> bool {
    named.is_some_and(|named| {
        named
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(name.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let value = http::HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn what_belongs_to_one_connection_or_to_the_router_does_not_go_on() {
        let client = headers(&[
            ("host", "router"),
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("authorization", "Bearer sk"),
            ("origin", "http://page"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, br"),
            ("transfer-encoding", "chunked"),
        ]);
        let expected = headers(&[
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
        ]);
        assert_eq!(forwarded(&client), expected);
    }

    #[test]
    fn a_header_given_twice_goes_on_twice() {
        let mut client = headers(&[("accept", "a")]);
        client.append("accept", http::HeaderValue::from_static("b"));
        let mut expected = client.clone();
        expected.insert("accept-encoding", HeaderValue::from_static("identity"));
        assert_eq!(forwarded(&client), expected);
    }

    #[test]
    fn an_answer_loses_what_was_for_the_router() {
        let mut answer = headers(&[
            ("server", "x"),
            ("set-cookie", "a=b"),
            ("alt-svc", "h3"),
            ("strict-transport-security", "max-age=1"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("content-type", "application/x-ndjson"),
            ("date", "today"),
        ]);
        answer.append("set-cookie", http::HeaderValue::from_static("c=d"));
        strip_response(&mut answer);
        let expected = headers(&[("content-type", "application/x-ndjson"), ("date", "today")]);
        assert_eq!(answer, expected);
    }
}

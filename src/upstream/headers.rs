//! Which headers cross the router, and which belong to one connection or one side only.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, ORIGIN,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER, SERVER, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Removes what must not reach a server.
///
/// Besides the hop-by-hop headers: `Origin` and `Referer`, because Ollama answers 403 to origins
/// it does not know and the router has checked them already; the client's credentials, which are
/// for the router; and `Host`, which names the server being called.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [
        AUTHORIZATION,
        CONTENT_LENGTH,
        COOKIE,
        EXPECT,
        HOST,
        ORIGIN,
        REFERER,
    ] {
        headers.remove(name);
    }
}

/// Removes what a server says to the router alone.
pub fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [SERVER, SET_COOKIE] {
        headers.remove(name);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.remove(CONNECTION) {
        let named = named.to_str().unwrap_or_default();
        for name in named
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            headers.remove(name);
        }
    }
    for name in [
        &KEEP_ALIVE,
        &PROXY_AUTHENTICATE,
        &PROXY_AUTHORIZATION,
        &TE,
        &TRAILER,
        &TRANSFER_ENCODING,
        &UPGRADE,
    ] {
        headers.remove(name);
    }
}

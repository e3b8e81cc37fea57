//! The key of a request, in whichever header its client puts it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

const API_KEY: &str = "x-api-key";
const BEARER: &str = "bearer ";
const BASIC: &str = "basic ";

/// `Authorization: Bearer`, as OpenAI's and Ollama's clients send it, or `x-api-key`, as Anthropic's
/// do; or the password of `Authorization: Basic`, for clients that can be given an address with a user and
/// nothing else. With several, the first: `Bearer` is the one a proxy in between knows, and a `Basic` beside
/// an `x-api-key` is that proxy's.
pub(super) fn of(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let api_key = || {
        let key = headers.get(API_KEY)?.to_str().ok()?.trim();
        (!key.is_empty()).then_some(key)
    };
    let plain = behind(BEARER, headers).or_else(api_key);
    plain
        .map(Cow::Borrowed)
        .or_else(|| password(headers).map(Cow::Owned))
}

/// What stands behind the scheme in `Authorization`.
fn behind<'a>(scheme: &str, headers: &'a HeaderMap) -> Option<&'a str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (named, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.trim();
    (named.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// Whatever the user: the key says who it is.
fn password(headers: &HeaderMap) -> Option<String> {
    let pair = STANDARD.decode(behind(BASIC, headers)?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (_, password) = pair.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        of(&headers).map(Cow::into_owned)
    }

    #[test]
    fn a_key_is_found_where_each_client_puts_it() {
        for headers in [
            &[("authorization", "Bearer sk-1")][..],
            &[("authorization", "bearer  sk-1 ")],
            &[("x-api-key", "sk-1")],
            &[("authorization", "Basic eDp5"), ("x-api-key", "sk-1")],
            &[("x-api-key", "sk-2"), ("authorization", "Bearer sk-1")],
            // user:sk-1, :sk-1
            &[("authorization", "Basic dXNlcjpzay0x")],
            &[("authorization", "basic OnNrLTE=")],
        ] {
            assert_eq!(shown(headers).as_deref(), Some("sk-1"), "{headers:?}");
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bear")],
            &[("x-api-key", "")],
            // user:, no colon, not base64, not text
            &[("authorization", "Basic dXNlcjo=")],
            &[("authorization", "Basic c2stMQ==")],
            &[("authorization", "Basic user:sk-1")],
            &[("authorization", "Basic Ov8=")],
        ] {
            assert_eq!(shown(headers), None, "{headers:?}");
        }
    }
}

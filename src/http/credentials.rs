//! The key of a request, in whichever header its client puts it.

use http::HeaderMap;
use http::header::AUTHORIZATION;

const API_KEY: &str = "x-api-key";
const BEARER: &str = "bearer ";

/// `Authorization: Bearer`, as OpenAI's and Ollama's clients send it, or `x-api-key`, as Anthropic's
/// do. With both, the first: it is the one a proxy in between knows.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| {
        let key = headers.get(API_KEY)?.to_str().ok()?.trim();
        (!key.is_empty()).then_some(key)
    })
}

/// What stands behind `Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_at_checked(BEARER.len())?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case(BEARER) && !key.is_empty()).then_some(key)
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
        of(&headers).map(str::to_owned)
    }

    #[test]
    fn a_key_is_found_where_each_client_puts_it() {
        for headers in [
            &[("authorization", "Bearer sk-1")][..],
            &[("authorization", "bearer  sk-1 ")],
            &[("x-api-key", "sk-1")],
            &[("authorization", "Basic eDp5"), ("x-api-key", "sk-1")],
            &[("x-api-key", "sk-2"), ("authorization", "Bearer sk-1")],
        ] {
            assert_eq!(shown(headers).as_deref(), Some("sk-1"), "{headers:?}");
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bear")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(shown(headers), None, "{headers:?}");
        }
    }
}

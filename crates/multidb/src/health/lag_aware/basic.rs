//! Basic authentication: a name and a password in a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;

/// The `Authorization` header, kept out of logs. `None` for a name with a colon, which would be
/// read as another name (RFC 7617).
pub(super) fn authorization(user: &str, password: &str) -> Option<HeaderValue> {
    if user.contains(':') {
        return None;
    }
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The same of `user:password` as it stands in an address, where `%40` is an `@`.
pub(super) fn authorization_of(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    authorization(&decoded(name)?, &decoded(password)?)
}

/// `None` for what is no text.
fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_address_a_name_and_a_password_may_be_escaped() {
        let plain = authorization("me", "p@ss/ä%").unwrap();
        assert_eq!(authorization_of("me:p%40ss%2f%C3%A4%25").unwrap(), plain);
        assert_eq!(authorization_of("me"), authorization("me", ""));
        for broken in ["me:%FF", "a%3Ab:c"] {
            assert!(authorization_of(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn a_name_with_a_colon_would_be_another_name() {
        let value = authorization("Aladdin", "open sesame").unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert!(authorization("a:b", "c").is_none());
    }
}

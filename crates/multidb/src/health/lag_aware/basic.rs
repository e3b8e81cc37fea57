//! Basic authentication: a name and a password in a header.

use http::HeaderValue;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The `Authorization` header, kept out of logs. `None` for a name with a colon, which would be
/// read as another name (RFC 7617).
pub(super) fn authorization(user: &str, password: &str) -> Option<HeaderValue> {
    if user.contains(':') {
        return None;
    }
    let encoded = base64(format!("{user}:{password}").as_bytes());
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The same of `user:password` as it stands in an address, where `%40` is an `@`.
pub(super) fn authorization_of(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    authorization(&decoded(name)?, &decoded(password)?)
}

/// RFC 3986; `None` for what is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, at| {
            word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let sextet = (word >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn in_an_address_a_name_and_a_password_may_be_escaped() {
        let plain = authorization("me", "p@ss/ä%").unwrap();
        assert_eq!(authorization_of("me:p%40ss%2f%C3%A4%25").unwrap(), plain);
        assert_eq!(authorization_of("me"), authorization("me", ""));
        for broken in ["me:%4", "me:%zz", "me:%FF", "a%3Ab:c"] {
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

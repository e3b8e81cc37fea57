//! The id of a request, in the logs of all programs it passes.

use http::header::{HeaderMap, HeaderValue};

const HEADER: &str = "x-request-id";
const LONGEST: usize = 128;

/// The client's own id if it is one, else a new one.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(HEADER).filter(|id| {
        (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(fresh)
}

/// 96 random bits. They identify and protect nothing: they need not be unguessable.
fn fresh() -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut random = u128::from(fastrand::u64(..)) << 32 | u128::from(fastrand::u32(..));
    let mut text = [0; 24];
    for digit in &mut text {
        *digit = HEX[(random & 0xf) as usize];
        random >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_id_of_the_clients_is_kept_and_any_other_is_replaced() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(id).unwrap());
            of(&headers)
        };
        assert_eq!(with("abc-1"), "abc-1");
        for bad in ["", "two words", &"x".repeat(129)] {
            assert_eq!(with(bad).len(), 24);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}

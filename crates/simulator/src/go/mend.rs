//! Text that is no Unicode, as Go replaces it: a byte that is no UTF-8 and half a surrogate pair each
//! become U+FFFD.

/// The body with such text replaced; nothing where there is none.
pub fn mend(body: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(body).into_owned().into_bytes();
    let mut mended = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = text.get(at..at + 6).and_then(unit);
        let width = match (byte, escape) {
            (b'\\', Some(0xD800..=0xDBFF)) if low_follows(&text, at + 6) => 12,
            (b'\\', Some(0xD800..=0xDFFF)) => {
                mended.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            (b'\\', _) => 2,
            _ => 1,
        };
        let end = (at + width).min(text.len());
        mended.extend_from_slice(&text[at..end]);
        at = end;
    }
    (mended != body).then_some(mended)
}

fn low_follows(text: &[u8], at: usize) -> bool {
    let next = text.get(at..at + 6).and_then(unit);
    matches!(next, Some(0xDC00..=0xDFFF))
}

/// The code unit that `\uXXXX` stands for.
fn unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_unicode_is_replaced() {
        let mended = |text: &[u8]| mend(text).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(mended(br#""\ud83d\ude00 \\ud83d \n""#), None);
        assert_eq!(mended(br#""\ud83d!""#).as_deref(), Some(r#""\ufffd!""#));
        assert_eq!(
            mended(br#""\ude00\ud83d\ud83d\ude00""#).as_deref(),
            Some(r#""\ufffd\ufffd\ud83d\ude00""#)
        );
        assert_eq!(mended(b"\"\xe9\"").as_deref(), Some("\"\u{fffd}\""));
    }
}

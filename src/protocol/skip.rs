//! Passing over JSON that means nothing, quickly and without validating it.
//!
//! Most strings are shorter than the fixed cost of a vectorised search, a few are very long: the
//! first words are compared eight bytes at a time, the rest is memchr's. Brackets are counted, not
//! matched; whoever must know whether something is JSON asks serde first.

use memchr::memchr2;

/// How far to look before calling memchr.
const NEAR: usize = 32;

/// Where the first `"` or `\` is.
#[inline]
pub(in crate::protocol) fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < NEAR
        && let Some(word) = bytes[at..].first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\'));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', &bytes[at..]).map(|found| at + found)
}

/// Where the first `{`, `}`, `[`, `]` or `"` is: all that matters where keys are not looked at.
#[inline]
pub(in crate::protocol) fn bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    let near = bytes.iter().take(8);
    match near.clone().position(|&byte| is(byte, BRACKET_OR_QUOTE)) {
        None if near.len() == 8 => far_bracket_or_quote(bytes),
        found => found,
    }
}

/// Blocks are of a fixed size and without an early exit, so that the compiler compares all of one
/// at once; long runs of numbers, such as embeddings, are passed at memory speed.
fn far_bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 8;
    while let Some(block) = bytes[at..].first_chunk::<64>() {
        let mut found = 0;
        for byte in block {
            // Square brackets and braces differ by one bit.
            let brace = byte | 0x20;
            found |= u8::from((brace == b'{') | (brace == b'}') | (*byte == b'"'));
        }
        if found != 0 {
            break;
        }
        at += block.len();
    }
    let rest = &bytes[at..];
    let found = rest.iter().position(|&byte| is(byte, BRACKET_OR_QUOTE))?;
    Some(at + found)
}

/// Where the string is over whose first byte behind the quote is at `at`.
pub(in crate::protocol) fn behind_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += quote_or_escape(bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Where the value is over that begins at `at`; nothing if it goes on behind `bytes`, or may.
pub(in crate::protocol) fn behind_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => behind_string(bytes, at + 1),
        b'{' | b'[' => behind_nested(bytes, at),
        _ => {
            let len = bytes[at..].iter().position(|&byte| !is(byte, SCALAR))?;
            Some(at + len).filter(|_| len > 0)
        }
    }
}

fn behind_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        at += bracket_or_quote(&bytes[at..])?;
        let byte = bytes[at];
        at += 1;
        match byte {
            b'"' => at = behind_string(bytes, at)?,
            b'{' | b'[' => depth += 1,
            _ => depth -= 1, // it began with an opening one, and ends with the last
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

const BRACKET_OR_QUOTE: u8 = 1;
const SCALAR: u8 = 2;

/// What a byte can be: one look-up instead of a chain of comparisons.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b'{' | b'}' | b'[' | b']' | b'"' => BRACKET_OR_QUOTE,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' => SCALAR,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] == class
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the zero bytes of a word: the lowest mark is exact, which is all that is used.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(0x01)) & !word & repeat(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        for (value, behind) in [
            (r#""a\"]" "#, Some(6)),
            (r#"{"}":["]",{}]},"#, Some(14)),
            ("[]", Some(2)),
            ("-1.5e+3,", Some(7)),
            ("null}", Some(4)),
            ("12", None),
            ("[1,\"]", None),
            (r#""\"#, None),
            ("", None),
            (",", None),
        ] {
            assert_eq!(behind_value(value.as_bytes(), 0), behind, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_first_there_is(
            bytes in prop::collection::vec(prop_oneof![20 => any::<u8>(), 1 => Just(b'"')], 0..300),
            plain in 0..300_usize,
        ) {
            let bytes = [vec![b'1'; plain], bytes].concat();
            prop_assert_eq!(
                quote_or_escape(&bytes),
                bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))
            );
            prop_assert_eq!(
                bracket_or_quote(&bytes),
                bytes.iter().position(|byte| b"{}[]\"".contains(byte))
            );
        }
    }
}

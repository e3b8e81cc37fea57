//! Writers that all dialects share.

use bytes::BufMut;

use crate::go;

/// A whole number in decimal.
pub fn number(out: &mut impl BufMut, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// `,"key":value`, or nothing when the value is 0 (`omitempty`).
pub fn unless_zero(out: &mut impl BufMut, key: &str, value: u64) {
    if value != 0 {
        out.put_slice(b",\"");
        out.put_slice(key.as_bytes());
        out.put_slice(b"\":");
        number(out, value);
    }
}

/// A quoted moment.
pub fn moment(out: &mut impl BufMut, unix_nanos: i128) {
    out.put_u8(b'"');
    go::rfc3339_nano(out, unix_nanos);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for value in [0, 7, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}

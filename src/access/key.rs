//! API keys: made here, shown once, and known from then on by what they hash to.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What every key begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "sk-";

/// A new key from 256 random bits.
#[must_use]
pub fn new_key(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", hex(&random))
}

/// The id of a key's account: SHA-256 of the key, in hexadecimal. There is nothing to guess in 256
/// random bits, so nothing slower is needed, and a look-up by it tells nothing about other keys.
#[must_use]
pub fn key_id(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_sha256() {
        let key = new_key([0xab; 32]);
        assert_eq!(key.len(), 3 + 64);
        // From sha256sum.
        assert_eq!(
            key_id("sk-abc"),
            "1460db1b6902f8b1fc2a40d9381a24d0fd22c3bc1b2c6f999c521da73776fbe0"
        );
    }
}

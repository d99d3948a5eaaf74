//! Random texts, and the hashes that are kept of them.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A new secret: 32 random bytes in hex, from a generator that the operating system seeds.
pub fn new_secret() -> String {
    hex(&rand::random::<[u8; 32]>())
}

/// A new name that nobody else will draw: 16 random bytes in hex.
pub(crate) fn new_key() -> String {
    hex(&rand::random::<[u8; 16]>())
}

/// What is kept of a secret text: its SHA-256 in hex. The texts have 256 bits of
/// randomness, so that there is nothing for a slow hash to protect.
pub fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Whether two hashes are the same; takes the same time wherever they differ.
pub fn same_hash(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_sha256_in_hex() {
        assert_eq!(
            sha256_hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(same_hash(&sha256_hex("abc"), &sha256_hex("abc")));
        assert!(!same_hash(&sha256_hex("abc"), &sha256_hex("abd")));
        assert!(!same_hash("abc", "ab"));
    }

    #[test]
    fn secrets_differ() {
        let secret = new_secret();
        assert_eq!(secret.len(), 64);
        assert_ne!(secret, new_secret());
    }
}

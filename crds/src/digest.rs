//! Fingerprints, by which statuses, names and annotations tell one version of something from another:
//! short, stable across processes and releases, not for secrecy.
//!
//! FNV-1a over the canonical JSON (object keys sorted, as `serde_json` does by default).
//! Two boundaries that differ by accident must not look alike; someone who may write a
//! policy can do worse than forge a fingerprint, so 128 bits without a key are enough.

use serde::Serialize;

/// Offset basis and prime of FNV-1a with 128 bits (IETF draft-eastlake-fnv).
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Fingerprint of a value. One that cannot be serialized has the fingerprint of nothing,
/// which equals no other.
pub fn number(value: &impl Serialize) -> u128 {
    let canonical = serde_json::to_value(value).map(|value| value.to_string());
    canonical
        .unwrap_or_default()
        .bytes()
        .fold(BASIS, |state, byte| {
            (state ^ u128::from(byte)).wrapping_mul(PRIME)
        })
}

/// A fingerprint as it is kept of what there is much of: in two halves, for a number of 128 bits wants a
/// multiple of 16 bytes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    /// Of a value; see [`number`].
    pub fn of(value: &impl Serialize) -> Self {
        let (high, low) = halves(number(value));
        Self(high, low)
    }
}

/// Upper and lower half of a number.
pub const fn halves(number: u128) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
    ((number >> 64) as u64, number as u64)
}

/// The fingerprint as 32 hexadecimal digits.
pub fn of(value: &impl Serialize) -> String {
    format!("{:032x}", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_change_with_the_order_of_keys() {
        let one = serde_json::json!({"a": 1, "b": [2, 3]});
        let other = serde_json::json!({"b": [2, 3], "a": 1});
        assert_eq!(of(&one), of(&other));
        assert_ne!(of(&one), of(&serde_json::json!({"a": 1, "b": [3, 2]})));
    }

    #[test]
    fn is_the_published_function() {
        // FNV-1a 128 of the four bytes `"a"` with quotes and of nothing, from the reference.
        assert_eq!(
            "".bytes()
                .fold(BASIS, |s, b| (s ^ u128::from(b)).wrapping_mul(PRIME)),
            BASIS
        );
        let foobar = b"foobar"
            .iter()
            .fold(BASIS, |s, b| (s ^ u128::from(*b)).wrapping_mul(PRIME));
        assert_eq!(format!("{foobar:032x}"), "343e1662793c64bf6f0d3597ba446f18");
    }
}

//! Values that parse or fail, once, and are never looked at as text again.

use std::{fmt, net::IpAddr, str::FromStr};

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not `address/length`.
    #[error("\"{0}\" is not a CIDR, such as 203.0.113.0/24")]
    Cidr(String),
    /// Bits beyond the prefix are set.
    #[error("\"{0}\" has bits set beyond its prefix; the network is {1}")]
    CidrHostBits(String, Cidr),
    /// Not a Kubernetes quantity, negative, or out of range.
    #[error("\"{0}\" is not a quantity, such as 500m, 4 or 16Gi")]
    Quantity(String),
}

/// A block of addresses, with no bit set beyond its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    /// The block of one address.
    pub const fn host(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }

    /// Whether every address of the other one is in this one. One of the other family's never is.
    pub fn holds(self, other: Self) -> bool {
        self.length <= other.length && self.overlaps(other)
    }

    /// Whether the two blocks share an address. Blocks of different families never do.
    pub fn overlaps(self, other: Self) -> bool {
        let length = self.length.min(other.length);
        self.address.is_ipv4() == other.address.is_ipv4()
            && network(self.address, length) == network(other.address, length)
    }
}

/// The leading `length` bits of an address, the others zero.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let malformed = || ParseError::Cidr(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let length: u8 = length.parse().map_err(|_| malformed())?;
        if length > Self::host(address).length {
            return Err(malformed());
        }
        let cidr = Self {
            address: network(address, length),
            length,
        };
        if cidr.address == address {
            Ok(cidr)
        } else {
            Err(ParseError::CidrHostBits(text.to_owned(), cidr))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

/// An amount of a resource, in thousandths of its unit (a core, a byte).
///
/// Shown in the canonical form of the API server (`resource.Quantity`), so that what is
/// written and what is read back compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    thousandths: u128,
    binary: bool,
}

/// Suffixes of a quantity and what they multiply thousandths with, larger first.
const BINARY: [(&str, u128); 6] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];
const DECIMAL: [(&str, u128); 6] = [
    ("E", 10_u128.pow(18)),
    ("P", 10_u128.pow(15)),
    ("T", 10_u128.pow(12)),
    ("G", 10_u128.pow(9)),
    ("M", 10_u128.pow(6)),
    ("k", 10_u128.pow(3)),
];

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self {
        thousandths: 0,
        binary: false,
    };

    /// So many thousandths of a core.
    pub const fn millicores(count: u32) -> Self {
        Self {
            thousandths: count as u128,
            binary: false,
        }
    }

    /// So many pieces.
    pub const fn count(count: u32) -> Self {
        Self {
            thousandths: (count as u128) * 1000,
            binary: false,
        }
    }

    /// So many MiB.
    pub const fn mebibytes(count: u32) -> Self {
        Self {
            thousandths: (count as u128) * 1000 * (1 << 20),
            binary: true,
        }
    }

    /// Whole bytes (or pieces) of it, rounded up; as many as a `u64` holds at the most.
    pub fn bytes(self) -> u64 {
        u64::try_from(self.thousandths.div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// All that the API server takes for a quantity and that is not negative; less than a thousandth is
/// rounded up.
impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let digits_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits_end);
        let read = unit(suffix).and_then(|(unit, binary)| {
            Some(Self {
                thousandths: scaled(number, unit)?,
                binary,
            })
        });
        read.ok_or_else(|| ParseError::Quantity(text.to_owned()))
    }
}

/// A unit in thousandths, as what to multiply and what to divide by.
type Unit = (u128, u128);

/// What a suffix stands for, and whether it is a binary one.
fn unit(suffix: &str) -> Option<(Unit, bool)> {
    let find = |table: &[(&str, u128)]| {
        let mut entries = table.iter();
        let (_, factor) = entries.find(|(name, _)| *name == suffix)?;
        Some((factor * 1000, 1))
    };
    let decimal = match suffix {
        "" => Some((1000, 1)),
        "m" => Some((1, 1)),
        "u" => Some((1, 1000)),
        "n" => Some((1, 1_000_000)),
        _ => find(&DECIMAL),
    };
    decimal
        .map(|unit| (unit, false))
        .or_else(|| find(&BINARY).map(|unit| (unit, true)))
        .or_else(|| exponent(suffix).map(|unit| (unit, false)))
}

/// `e3`, `E+3`, `e-3`.
fn exponent(suffix: &str) -> Option<Unit> {
    let exponent: i8 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs().into())?;
    if exponent < 0 {
        Some((1000, power))
    } else {
        Some((power.checked_mul(1000)?, 1))
    }
}

/// `number × unit`, rounded up, or nothing where `number` is no decimal number.
fn scaled(number: &str, (times, by): Unit) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(times)?;
    Some(scaled.div_ceil(scale.checked_mul(by)?))
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.thousandths / 1000;
        if self.thousandths == 0 {
            return formatter.write_str("0");
        }
        if !self.thousandths.is_multiple_of(1000) {
            return write!(formatter, "{}m", self.thousandths);
        }
        let table = if self.binary { &BINARY } else { &DECIMAL };
        match table
            .iter()
            .find(|(_, factor)| whole.is_multiple_of(*factor))
        {
            Some((suffix, factor)) => write!(formatter, "{}{suffix}", whole / factor),
            None => write!(formatter, "{whole}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_networks_and_refuses_the_rest() {
        for good in ["0.0.0.0/0", "203.0.113.0/24", "::/0", "fd00:ec2::254/128"] {
            assert_eq!(cidr(good).to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "x/8",
            "::/129",
            "10.0.0/8",
        ] {
            assert_eq!(bad.parse::<Cidr>(), Err(ParseError::Cidr(bad.into())));
        }
        let host_bits = "10.0.0.1/8".parse::<Cidr>().unwrap_err();
        assert_eq!(
            host_bits.to_string(),
            "\"10.0.0.1/8\" has bits set beyond its prefix; the network is 10.0.0.0/8"
        );
    }

    #[test]
    fn overlap_goes_both_ways_and_stays_in_the_family() {
        assert!(cidr("0.0.0.0/0").overlaps(cidr("10.0.0.0/8")));
        assert!(cidr("10.1.0.0/16").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("11.0.0.0/8").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("::/0").overlaps(cidr("10.0.0.0/8")));
        assert!(cidr("fc00::/7").overlaps(cidr("fd00:ec2::254/128")));
    }

    #[test]
    fn a_block_holds_itself_and_what_is_smaller_in_its_family() {
        for (outer, inner) in [
            ("0.0.0.0/0", "203.0.113.0/24"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("203.0.113.0/24", "203.0.113.255/32"),
            ("2600::/12", "2600:1f00::/24"),
        ] {
            assert!(cidr(outer).holds(cidr(inner)), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("203.0.113.0/25", "203.0.113.0/24"),
            ("203.0.113.0/25", "203.0.113.128/32"),
            ("::/0", "203.0.113.0/24"),
            ("0.0.0.0/0", "::ffff:cb00:7100/120"),
        ] {
            assert!(!cidr(outer).holds(cidr(inner)), "{outer} {inner}");
        }
    }

    #[test]
    fn amounts_read_back_in_the_servers_own_form() {
        for (given, canonical) in [
            ("4", "4"),
            ("4000m", "4"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("16Gi", "16Gi"),
            ("1024Mi", "1Gi"),
            ("16640Mi", "16640Mi"),
            ("1000M", "1G"),
            ("1000", "1k"),
            ("0", "0"),
            ("1.5Gi", "1536Mi"),
            // All that the API server takes.
            ("+1Gi", "1Gi"),
            ("1e9", "1G"),
            ("1E3", "1k"),
            ("2E+3", "2k"),
            ("500e-3", "500m"),
            ("1.5e3", "1500"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            (".5", "500m"),
            ("5.", "5"),
            ("1500000u", "1500m"),
            ("1n", "1m"),
            ("0.0000000000001", "1m"),
        ] {
            assert_eq!(given.parse::<Amount>().unwrap().to_string(), canonical);
        }
        for bad in [
            "",
            "-1",
            "+-1",
            "++1",
            "1e",
            "1e3.5",
            "1e+",
            "1e99",
            "1ki",
            "4 cores",
            "Gi",
            ".",
            "1.2.3",
            "99999999999999999999999999999999999999Ei",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad} must not parse");
        }
    }
}

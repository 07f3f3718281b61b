//! Amounts of memory and disk as people write them: `512MiB`, `2GB`,
//! `1073741824`, or, for memory, a share of what there is, `0.6`.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// An amount of memory: bytes, or a share of what the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many millionths of what there is.
    Share(u32),
}

/// An amount of disk space, in bytes: a disk is not the broker's alone and may be of any size, so
/// that a share of it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Bytes(pub u64);

/// An amount in the file: a number is as good as a text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an amount is bytes, as in 512MiB, or a share, as in 0.6")]
enum Written {
    Whole(u64),
    Share(f64),
    Text(String),
}

const MILLION: u32 = 1_000_000;

const UNITS: [(&str, u64); 12] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
];

impl Amount {
    /// In bytes, of `all`; nothing for a share of what is not known.
    #[must_use]
    pub fn bytes_of(self, all: Option<u64>) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Share(millionths) => {
                let bytes = u128::from(all?) * u128::from(millionths) / u128::from(MILLION);
                u64::try_from(bytes).ok()
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Share(millionths) => {
                let share = f64::from(*millionths) / f64::from(MILLION);
                // Without a point it would be bytes.
                if share.fract() == 0.0 { write!(f, "{share:.1}") } else { write!(f, "{share}") }
            }
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not an amount: bytes, as in 512MiB or 2GB, or a share of at most 1.0, as in 0.6"
            )
        };
        if text == "1.0" {
            return Ok(Self::Share(MILLION));
        }
        if let Some(digits) = text.strip_prefix("0.").filter(|digits| is_number(digits)) {
            // Of more digits the rest is dropped: 0.000000001, by which operators block publishers.
            let millionths: u32 = format!("{digits:0<6.6}").parse().map_err(|_not_digits| wrong())?;
            return Ok(Self::Share(millionths));
        }
        let lower = text.to_ascii_lowercase();
        let unit = UNITS.iter().find_map(|&(name, unit)| Some((lower.strip_suffix(name)?, unit)));
        let (number, unit) = unit.unwrap_or((&lower, 1));
        let number: u64 = number.trim_end().parse().map_err(|_not_a_number| wrong())?;
        number.checked_mul(unit).map(Self::Bytes).ok_or_else(wrong)
    }
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

impl TryFrom<Written> for Amount {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Whole(bytes) => Ok(Self::Bytes(bytes)),
            Written::Share(share) if share > 0.0 && share < 1.0 => share.to_string().parse(),
            Written::Share(share) => format!("{share:?}").parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Amount::Bytes(bytes)) => Ok(Self(bytes)),
            Ok(Amount::Share(_)) | Err(_) => Err(format!("'{text}' is not an amount of bytes, as in 256MiB")),
        }
    }
}

impl TryFrom<Written> for Bytes {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Whole(bytes) => Ok(Self(bytes)),
            Written::Share(share) => share.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, amount) in [
            ("1024", Amount::Bytes(1024)),
            ("512MiB", Amount::Bytes(512 << 20)),
            ("2 gb", Amount::Bytes(2_000_000_000)),
            ("1G", Amount::Bytes(1 << 30)),
            ("0", Amount::Bytes(0)),
            ("0.6", Amount::Share(600_000)),
            ("0.000001", Amount::Share(1)),
            ("0.000000001", Amount::Share(0)),
            ("0.9999999", Amount::Share(999_999)),
            ("1.0", Amount::Share(1_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(amount), "{text}");
            assert_eq!(amount.to_string().parse(), Ok(amount), "it is written as it is read");
        }
        for text in ["", "MiB", "-1", "1.5", "0.", "0.x", "0.1x", "99999999999TiB", "12 miles"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        assert_eq!(Amount::Share(600_000).bytes_of(Some(1000)), Some(600));
        assert_eq!(Amount::Share(600_000).bytes_of(None), None);
    }
}

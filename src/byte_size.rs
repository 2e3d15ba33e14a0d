//! A number of bytes, as people write it: `"10 GiB"`, `"512MiB"`, or plain `65536`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// The units, and by how many bits each shifts.
const UNITS: [(&str, u32); 5] = [("", 0), ("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];

/// A number of bytes that Postgres can count, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(i64);

impl ByteSize {
    pub const fn mebibytes(count: u32) -> Self {
        Self((count as i64) << 20)
    }

    pub const fn gibibytes(count: u32) -> Self {
        Self((count as i64) << 30)
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a size such as \"10 GiB\" or \"512 MiB\", found {text:?}");
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let (_, shift) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(expected)?;
        let count: i64 = digits.parse().map_err(|_| expected())?;
        count.checked_mul(1 << shift).map(Self).ok_or_else(expected)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(i64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) if bytes >= 0 => Ok(Self(bytes)),
            Written::Bytes(bytes) => Err(de::Error::custom(format!("expected a size, found {bytes}"))),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_its_unit_and_without() {
        for (text, bytes) in
            [("10 GiB", 10 << 30), ("512MiB", 512 << 20), ("1 KiB", 1024), ("7 B", 7), ("65536", 65536)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_with_what_was_found() {
        for text in ["", "GiB", "-1", "1.5 GiB", "10 GB", "10 gib", "10 GiB ", "99999999999 GiB", "१ GiB"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")) && error.contains("10 GiB"), "{error}");
        }
    }
}

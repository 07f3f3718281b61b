//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Two digits a byte, without spaces.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}

//! A start after a crash whose journal says anything: the store says what is wrong with it, or
//! works with what it found.

use super::{rows, samples};
use std::sync::OnceLock;

/// Where the journal begins in a data file.
const JOURNAL_AT: usize = 4096;

/// Room for the journal in the file, bytes.
const JOURNAL_BYTES: u64 = 16 * 1024;

/// Reads `data` as the payloads of entries, each behind its length in two bytes.
pub fn check(data: &[u8]) {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    let mut image = EMPTY.get_or_init(|| rows::empty(JOURNAL_BYTES)).clone();
    let (mut rest, mut at) = (data, JOURNAL_AT);
    for number in 1_u64.. {
        let Some((&len, behind)) = rest.split_first_chunk() else { break };
        let (payload, behind) = behind.split_at(behind.len().min(u16::from_be_bytes(len).into()));
        let covered = [&number.to_be_bytes(), payload].concat();
        let len = u32::try_from(payload.len()).expect("its length has two bytes");
        let entry = [&len.to_be_bytes(), &crc32fast::hash(&covered).to_be_bytes()[..], &covered].concat();
        let Some(room) = image.get_mut(at..at + entry.len()).filter(|_| at + entry.len() < end()) else {
            break;
        };
        room.copy_from_slice(&entry);
        (rest, at) = (behind, at + entry.len());
    }
    rows::start(image);
}

fn end() -> usize {
    JOURNAL_AT + usize::try_from(JOURNAL_BYTES).expect("it is small")
}

/// One entry and several.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let sized = |payload: &[u8]| {
        let len = u16::try_from(payload.len()).expect("a sample is short");
        [&len.to_be_bytes(), payload].concat()
    };
    let later =
        [b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02", &samples::text(&samples::records())[..]].concat();
    let settled = b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03";
    vec![
        sized(&samples::entry()),
        [sized(&samples::entry()), sized(&later), sized(settled)].concat(),
        [sized(&[]), sized(&later)].concat(),
    ]
}

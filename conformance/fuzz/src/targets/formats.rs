//! The store's rows and the journal's entries: what is read from any bytes is written as it was.

use super::samples::{self, entry};
use leveret::store::StoreError;
use leveret::store::format::{Format, rewrite};

const FORMATS: [Format; 4] = [Format::Queue, Format::Binding, Format::Segment, Format::Entry];

/// The first byte says what the rest is read as.
pub fn check(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let format = FORMATS[usize::from(kind) % FORMATS.len()];
    let once = match rewrite(format, bytes) {
        Ok(once) => once,
        Err(StoreError::Damaged(why)) => return assert!(!why.is_empty(), "a fault has a reason"),
        Err(other) => panic!("bytes are damaged and nothing else: {other}"),
    };
    if format == Format::Entry {
        let again = rewrite(format, &once).expect("what was written is read");
        assert_eq!(again, once, "an entry changes when it is written again");
    } else {
        assert_eq!(once, bytes, "a row of {format:?} is another when it is written again");
    }
}

/// One of each.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let rows = [samples::queue(), samples::binding(), samples::segment(), samples::large_segment(), entry()];
    let kinds = [0, 1, 2, 2, 3];
    kinds.into_iter().zip(rows).map(|(kind, row)| [vec![kind], row].concat()).collect()
}

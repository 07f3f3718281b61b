//! Joins small rows that follow each other, so that messages published one at a time cost few rows
//! in the end.

use super::segment::{INLINE_BYTES_MAX, RUN_BYTES_MAX, RUN_RECORDS_MAX, Segment, SegmentView};
use super::table::Rows;
use crate::ids::{QueueId, SeqRange};
use crate::store::error::StoreError;
use redb::ReadableTable;

/// A row, or several as one.
struct Joined {
    first: u64,
    segment: Segment,
    records: Vec<u8>,
    /// Whether the records are those that were written: damaged ones stay in a row of their own,
    /// with the checksum that tells.
    whole: bool,
    /// The rows it is made of.
    rows: Vec<u64>,
}

impl Joined {
    fn takes(&self, next: &Self) -> bool {
        self.whole
            && next.whole
            && self.segment.range(self.first).end == next.first
            && self.records.len() + next.records.len() <= RUN_BYTES_MAX
            && self.segment.count + next.segment.count <= RUN_RECORDS_MAX
    }

    fn take(&mut self, mut next: Self) {
        self.segment.settled.set_shifted(&next.segment.settled, self.segment.count);
        self.segment.transient.set_shifted(&next.segment.transient, self.segment.count);
        self.segment.expires |= next.segment.expires;
        self.segment.declared |= next.segment.declared;
        self.segment.count += next.segment.count;
        self.segment.bytes += next.segment.bytes;
        self.records.append(&mut next.records);
        self.rows.append(&mut next.rows);
    }
}

/// Replaces the rows of queue `id` that begin in `range` by as few as they fit in. Returns the
/// numbers and the bytes of each row that is there then.
pub(super) fn join(
    rows: &mut Rows<'_>,
    id: QueueId,
    range: SeqRange,
) -> Result<Vec<(SeqRange, usize)>, StoreError> {
    let mut joined: Vec<Joined> = Vec::new();
    for row in read(rows, id, range)? {
        match joined.last_mut().filter(|last| last.takes(&row)) {
            Some(last) => last.take(row),
            None => joined.push(row),
        }
    }
    let mut there = Vec::with_capacity(joined.len());
    for row in joined {
        // A damaged row counts as a large one, which is not tried again.
        let bytes = if row.whole { row.records.len() } else { usize::MAX };
        there.push((row.segment.range(row.first), bytes));
        if row.rows.len() > 1 {
            replace(rows, id, row)?;
        }
    }
    Ok(there)
}

/// Reads whole rows.
fn read(rows: &mut Rows<'_>, id: QueueId, range: SeqRange) -> Result<Vec<Joined>, StoreError> {
    let mut found = Vec::new();
    for row in rows.segments()?.range((id.0, range.first)..(id.0, range.end))? {
        let (key, value) = row?;
        let mut segment = Segment::from(SegmentView::decode(key.value(), value.value())?);
        let records = segment.inline.take();
        found.push((key.value().1, segment, records));
    }
    let mut all = Vec::with_capacity(found.len());
    for (first, segment, records) in found {
        let records = match records {
            Some(records) => Some(records),
            None => rows.bodies().read((id.0, first), segment.bytes)?,
        };
        let whole = records.as_ref().is_some_and(|records| segment.matches(records));
        all.push(Joined { first, segment, records: records.unwrap_or_default(), whole, rows: vec![first] });
    }
    Ok(all)
}

fn replace(rows: &mut Rows<'_>, id: QueueId, mut row: Joined) -> Result<(), StoreError> {
    for &first in &row.rows {
        rows.remove_segment((id.0, first))?;
        rows.bodies().remove((id.0, first))?;
    }
    row.segment.checksum = Some(crc32fast::hash(&row.records));
    if row.records.len() <= INLINE_BYTES_MAX {
        row.segment.inline = Some(row.records);
    } else {
        rows.bodies().insert((id.0, row.first), &row.records)?;
    }
    rows.put_segment((id.0, row.first), &row.segment)
}

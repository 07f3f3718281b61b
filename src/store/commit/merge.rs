//! The net effect of changes: what is settled before it was written is never written.
//!
//! [`WriteBatch`] takes changes in their order and keeps, per queue, what is to be written;
//! [`WriteBatch::settle`] then takes settled messages out of what enters, and out of what is
//! settled those that cannot be on disk. A queue's number is published at most once and settled
//! after that, so within a group the order of the two does not matter. A batch that cannot be
//! written (the disk is full) takes in later groups the same way, and so does one that is in the
//! journal and not yet in the tables.

use super::stream::StreamBatch;
use crate::ids::{QueueId, SeqRange, lane_of};
use crate::message::Block;
use crate::store::change::{Change, DELETE_WEIGHT, QueueRecord};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

/// Who else holds a block that is in one queue: that queue, and whoever is just writing it to a
/// consumer. One that more hold is in several queues, and a part of its own for each might take
/// more than the whole.
const OTHERS_MAX: usize = 2;

/// What is kept of a message that was requeued: its failed deliveries, and until when
/// it waits or, of one that has died, how: see `mark`.
pub(in crate::store) type RequeueRow = (u32, u64);

/// Changes that are to reach the disk together, merged: a plain record once
/// [`WriteBatch::settle`] has put it in order, which `store/redb` writes.
#[derive(Debug, Default)]
pub(in crate::store) struct WriteBatch {
    /// Per queue, in order of ids: neighbours in the file are written one after the other.
    pub(in crate::store) queues: BTreeMap<QueueId, QueueBatch>,
    /// Changes of what is not a queue, in their order.
    pub(in crate::store) metadata: Vec<Change>,
    /// Bytes of records in `queues`.
    pub(in crate::store) bytes: usize,
    /// How many runs they are in, and rows of requeued messages, of declarations and of `metadata`,
    /// of which large ones count as more, as do queues that go.
    pub(in crate::store) rows: usize,
    /// Above the ids of all queues that were declared, those that are gone again too.
    pub(in crate::store) next_queue: u64,
}

/// What happens to one queue.
#[derive(Debug, Default)]
pub(in crate::store) struct QueueBatch {
    /// It is gone with all it had; nothing else of it is left in this group.
    pub(in crate::store) deleted: bool,
    /// It is declared.
    pub(in crate::store) declared: Option<QueueRecord>,
    /// Records that enter; after [`WriteBatch::settle`] in order of their numbers, none of them
    /// settled.
    pub(in crate::store) runs: Vec<Run>,
    /// Messages that leave; after [`WriteBatch::settle`] in order, apart from each other, and
    /// perhaps on disk.
    pub(in crate::store) settled: Vec<SeqRange>,
    /// Messages that were requeued; after [`WriteBatch::settle`] such that stay.
    pub(in crate::store) requeues: BTreeMap<u64, RequeueRow>,
    /// The mark of a clean stop, lane by lane.
    pub(in crate::store) delivered: BTreeMap<u8, u64>,
    /// Of a stream: what happens beside its records.
    pub(in crate::store) stream: Option<Box<StreamBatch>>,
    /// What is part of no group.
    pub(in crate::store) local: Option<Box<LocalBatch>>,
    /// All of `runs`, and what was settled of them, lie within.
    numbers: SeqRange,
}

/// What happens to the spilled messages of one queue: those that only this process reads again.
#[derive(Debug, Default)]
pub(in crate::store) struct LocalBatch {
    /// The queue is gone with all it had.
    pub(in crate::store) deleted: bool,
    /// Records that enter; after [`WriteBatch::settle`] in order of their numbers, none of them
    /// settled.
    pub(in crate::store) runs: Vec<Run>,
    /// Messages that leave; after [`WriteBatch::settle`] in order, apart from each other, and
    /// perhaps on disk.
    pub(in crate::store) settled: Vec<SeqRange>,
    /// All of `runs`, and what was settled of them, lie within.
    numbers: SeqRange,
}

/// What may be on disk of a queue before a batch is.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct OnDisk {
    /// Its messages lie within.
    pub(in crate::store) messages: SeqRange,
    /// It has a record: its messages outlive the broker.
    pub(in crate::store) declared: bool,
    /// There may be something of it.
    pub(in crate::store) anything: bool,
    /// Its spilled messages lie within.
    pub(in crate::store) spilled: SeqRange,
}

impl OnDisk {
    /// In the tables and, for what `queue` says, in the journal.
    pub(in crate::store) fn in_journal_too(self, queue: Option<&QueueBatch>) -> Self {
        let Some(queue) = queue else { return self };
        Self {
            messages: self.messages.hull(queue.numbers),
            declared: self.declared || queue.declared.is_some(),
            anything: self.anything || queue.lasts(),
            spilled: queue.local.as_ref().map_or(self.spilled, |local| self.spilled.hull(local.numbers)),
        }
    }
}

/// Records of a block and the number of the first one.
#[derive(Debug, Clone)]
pub(in crate::store) struct Run {
    pub(in crate::store) first: u64,
    pub(in crate::store) block: Arc<Block>,
    pub(in crate::store) range: Range<u32>,
}

impl Run {
    pub(in crate::store) fn len(&self) -> u32 {
        self.range.end - self.range.start
    }

    /// One past the number of the last record.
    pub(in crate::store) fn end(&self) -> u64 {
        self.first + u64::from(self.len())
    }

    pub(in crate::store) fn bytes(&self) -> usize {
        self.block.bytes_of(self.range.clone())
    }

    /// Cuts off the records from number `at` on; `at` lies within or at an end.
    pub(in crate::store) fn split_off(&mut self, at: u64) -> Self {
        let behind = u32::try_from(self.end() - at).expect("a block has few records");
        let middle = self.range.end - behind;
        let rest = Self { first: at, block: Arc::clone(&self.block), range: middle..self.range.end };
        self.range.end = middle;
        rest
    }
}

/// Bytes of the records that a change carries.
pub(in crate::store) fn record_bytes(change: &Change) -> usize {
    match change {
        Change::Publish { block, range, .. } | Change::Spill { block, range, .. } => {
            block.bytes_of(range.clone())
        }
        _ => 0,
    }
}

impl WriteBatch {
    /// Whether there is nothing to write.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.metadata.is_empty()
    }

    /// Whether there is something beside what is local.
    pub(in crate::store) fn lasts(&self) -> bool {
        !self.metadata.is_empty() || self.queues.values().any(QueueBatch::lasts)
    }

    /// Whether there is something that clients or operators did, beside the marks of deliveries.
    pub(in crate::store) fn is_more_than_marks(&self) -> bool {
        !self.metadata.is_empty() || self.queues.values().any(QueueBatch::is_more_than_marks)
    }

    /// Whether there is something that cannot wait for room on a full disk, after
    /// [`WriteBatch::settle`]: messages leave that may be on disk, or something is declared, set or
    /// deleted, for which those may wait who would consume.
    pub(in crate::store) fn is_urgent(&self) -> bool {
        let leaves = |local: &LocalBatch| local.deleted || !local.settled.is_empty();
        let trims = |stream: &StreamBatch| stream.first.is_some();
        !self.metadata.is_empty()
            || self.queues.values().any(|queue| {
                queue.deleted
                    || queue.declared.is_some()
                    || !queue.settled.is_empty()
                    || queue.local.as_deref().is_some_and(leaves)
                    || queue.stream.as_deref().is_some_and(trims)
            })
    }

    /// Takes in `changes`, which come after everything before.
    pub(in crate::store) fn absorb(&mut self, changes: Vec<Change>) {
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            let Some(id) = queue_of(&change) else {
                self.metadata.push(change);
                continue;
            };
            if let Change::DeclareQueue(record) = &change {
                self.next_queue = self.next_queue.max(record.id.0 + 1);
            }
            let queue = self.queues.entry(id).or_default();
            self.bytes += queue.absorb(change);
            let same = |next: &Change| queue_of(next) == Some(id) && !matches!(next, Change::DeclareQueue(_));
            while let Some(next) = changes.next_if(same) {
                self.bytes += queue.absorb(next);
            }
        }
    }

    /// Has runs hold no more than about twice what they are: a run that waits for long keeps its
    /// block for as long, of which nearly all may have been consumed.
    pub(in crate::store) fn detach(&mut self) {
        self.queues.values_mut().for_each(QueueBatch::detach);
    }

    /// Takes in `later`, whose changes come after everything here.
    pub(in crate::store) fn merge(&mut self, later: Self) {
        for (id, queue) in later.queues {
            match self.queues.entry(id) {
                Entry::Vacant(place) => {
                    place.insert(queue);
                }
                Entry::Occupied(mut earlier) => earlier.get_mut().merge(queue),
            }
        }
        self.metadata.extend(later.metadata);
        self.bytes += later.bytes;
        self.rows += later.rows;
        self.next_queue = self.next_queue.max(later.next_queue);
    }

    /// Takes what is settled out of what enters, and forgets what cannot be on disk: `before` tells
    /// what can.
    pub(in crate::store) fn settle(&mut self, before: impl Fn(QueueId) -> OnDisk) {
        (self.bytes, self.rows) = (0, self.metadata.iter().map(Change::weight).sum());
        self.queues.retain(|&id, queue| {
            queue.settle(before(id));
            for runs in [&queue.runs].into_iter().chain(queue.local.as_ref().map(|local| &local.runs)) {
                self.bytes += runs.iter().map(Run::bytes).sum::<usize>();
                self.rows += runs.len();
            }
            let declared = queue.declared.as_ref().map_or(0, QueueRecord::weight);
            let deleted = if queue.deleted { DELETE_WEIGHT } else { 0 };
            self.rows += queue.requeues.len() + declared + deleted;
            queue.lasts() || queue.local.is_some()
        });
    }
}

impl QueueBatch {
    /// Whether there is something beside what is local.
    pub(in crate::store) fn lasts(&self) -> bool {
        self.is_more_than_marks() || !self.requeues.is_empty() || !self.delivered.is_empty()
    }

    /// As [`WriteBatch::is_more_than_marks`].
    fn is_more_than_marks(&self) -> bool {
        self.deleted
            || self.declared.is_some()
            || !self.runs.is_empty()
            || !self.settled.is_empty()
            || self.stream.is_some()
    }

    fn detach(&mut self) {
        detach(&mut self.runs);
        if let Some(local) = &mut self.local {
            detach(&mut local.runs);
        }
    }

    fn merge(&mut self, mut later: Self) {
        self.deleted |= later.deleted;
        self.declared = later.declared.or(self.declared.take());
        self.runs.append(&mut later.runs);
        self.settled.append(&mut later.settled);
        self.requeues.append(&mut later.requeues);
        self.delivered.append(&mut later.delivered);
        if let Some(stream) = later.stream {
            self.stream.get_or_insert_default().merge(*stream);
        }
        if let Some(local) = later.local {
            self.local.get_or_insert_default().merge(*local);
        }
        self.numbers = self.numbers.hull(later.numbers);
    }

    fn settle(&mut self, before: OnDisk) {
        self.settle_local(before.spilled);
        if self.deleted {
            let local = self.local.take();
            *self = Self { deleted: before.anything, local, ..Self::default() };
            return;
        }
        settle_runs(&mut self.runs, &mut self.settled);
        self.requeues.retain(|&seq, _| !holds(&self.settled, seq));
        keep_within(&mut self.settled, before.messages);
        if self.declared.is_none() && !before.declared {
            // Nobody will ask: the next start forgets this queue.
            self.requeues.clear();
            self.delivered.clear();
            self.stream = None;
        }
    }

    /// As [`WriteBatch::settle`] of what is spilled; on disk that is within `spilled`.
    fn settle_local(&mut self, spilled: SeqRange) {
        if self.local.is_none() && spilled.is_empty() {
            return;
        }
        let mut local = self.local.take().unwrap_or_default();
        if self.deleted || local.deleted {
            *local = LocalBatch { deleted: !spilled.is_empty(), ..LocalBatch::default() };
        } else {
            local.settled.extend_from_slice(&self.settled);
            settle_runs(&mut local.runs, &mut local.settled);
            keep_within(&mut local.settled, spilled);
        }
        self.local = Some(local).filter(|local| !local.is_empty());
    }

    /// Takes in a change of this queue; returns the bytes of its records.
    fn absorb(&mut self, change: Change) -> usize {
        let bytes = record_bytes(&change);
        match change {
            Change::Publish { first, block, range, .. } => {
                let run = Run { first, block, range };
                self.numbers = self.numbers.hull(SeqRange { first, end: run.end() });
                self.runs.push(run);
            }
            Change::Spill { first, block, range, .. } => {
                self.local.get_or_insert_default().push(Run { first, block, range })
            }
            Change::Settle { range, .. } => match self.settled.last_mut() {
                Some(last) if last.end == range.first => last.end = range.end,
                _ => self.settled.push(range),
            },
            Change::Requeue { seq, deliveries, due_ms, .. } => {
                self.requeues.insert(seq, (deliveries, due_ms));
            }
            Change::Delivered { up_to, .. } => {
                self.delivered.insert(lane_of(up_to), up_to);
            }
            Change::Stream { note, .. } => self.stream.get_or_insert_default().absorb(note),
            Change::DeclareQueue(record) => self.declared = Some(record),
            Change::DeleteQueue(_) => self.deleted = true,
            Change::DeclareExchange(_)
            | Change::DeleteExchange { .. }
            | Change::Bind(_)
            | Change::Unbind(_)
            | Change::Seen(_)
            | Change::Forget(_)
            | Change::Auth(_)
            | Change::Policy(_)
            | Change::Parameter { .. } => {}
        }
        bytes
    }
}

impl LocalBatch {
    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool {
        !self.deleted && self.runs.is_empty() && self.settled.is_empty()
    }

    fn push(&mut self, run: Run) {
        self.numbers = self.numbers.hull(SeqRange { first: run.first, end: run.end() });
        self.runs.push(run);
    }

    fn merge(&mut self, mut later: Self) {
        self.deleted |= later.deleted;
        self.runs.append(&mut later.runs);
        self.settled.append(&mut later.settled);
        self.numbers = self.numbers.hull(later.numbers);
    }
}

/// Has runs of a queue hold no more than about twice what they are: see [`WriteBatch::detach`].
fn detach(runs: &mut [Run]) {
    for runs in runs.chunk_by_mut(|run, next| Arc::ptr_eq(&run.block, &next.block)) {
        let block = Arc::clone(&runs[0].block);
        let is_much = 2 * runs.iter().map(Run::bytes).sum::<usize>() >= block.bytes().len();
        let others = Arc::strong_count(&block).saturating_sub(runs.len() + 1);
        if is_much || others > OTHERS_MAX {
            continue;
        }
        let kept = Arc::new(block.only(runs.iter().map(|run| run.range.clone())));
        let mut at = 0;
        for run in runs {
            run.range = at..at + run.len();
            at = run.range.end;
            run.block = Arc::clone(&kept);
        }
    }
}

/// Brings both into order, and takes what is settled out of the runs.
fn settle_runs(runs: &mut Vec<Run>, settled: &mut Vec<SeqRange>) {
    if !runs.is_sorted_by_key(|run| run.first) {
        runs.sort_by_key(|run| run.first);
    }
    join(settled);
    cancel(runs, settled);
}

/// Cuts off what of ordered ranges lies outside of `within`.
pub(in crate::store) fn keep_within(ranges: &mut Vec<SeqRange>, within: SeqRange) {
    ranges.retain_mut(|range| {
        *range = range.meet(within);
        !range.is_empty()
    });
}

/// The queue that a change is about.
fn queue_of(change: &Change) -> Option<QueueId> {
    match change {
        Change::Publish { queue, .. }
        | Change::Spill { queue, .. }
        | Change::Settle { queue, .. }
        | Change::Requeue { queue, .. }
        | Change::Delivered { queue, .. }
        | Change::Stream { queue, .. }
        | Change::DeleteQueue(queue) => Some(*queue),
        Change::DeclareQueue(record) => Some(record.id),
        Change::DeclareExchange(_)
        | Change::DeleteExchange { .. }
        | Change::Bind(_)
        | Change::Unbind(_)
        | Change::Seen(_)
        | Change::Forget(_)
        | Change::Auth(_)
        | Change::Policy(_)
        | Change::Parameter { .. } => None,
    }
}

/// Brings ranges into order and joins those that meet.
pub(in crate::store) fn join(ranges: &mut Vec<SeqRange>) {
    ranges.retain(|range| !range.is_empty());
    if !ranges.is_sorted() {
        ranges.sort_unstable();
    }
    ranges.dedup_by(|next, last| {
        let meets = next.first <= last.end;
        if meets {
            last.end = last.end.max(next.end);
        }
        meets
    });
}

/// Whether ordered ranges hold `seq`.
fn holds(ranges: &[SeqRange], seq: u64) -> bool {
    let at = ranges.partition_point(|range| range.end <= seq);
    ranges.get(at).is_some_and(|range| range.first <= seq)
}

/// Takes the settled numbers out of `runs`, both in order.
fn cancel(runs: &mut Vec<Run>, settled: &[SeqRange]) {
    let mut kept = Vec::with_capacity(runs.len());
    let mut next = 0;
    for mut run in runs.drain(..) {
        while settled.get(next).is_some_and(|range| range.end <= run.first) {
            next += 1;
        }
        for range in &settled[next..] {
            let out = range.meet(SeqRange { first: run.first, end: run.end() });
            if out.is_empty() {
                break;
            }
            let rest = run.split_off(out.first);
            if !run.range.is_empty() {
                kept.push(run);
            }
            run = rest;
            run = run.split_off(out.end);
        }
        if !run.range.is_empty() {
            kept.push(run);
        }
    }
    *runs = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, seeds};
    use crate::message::{BlockBuilder, Message};
    use std::collections::BTreeSet;

    const QUEUE: QueueId = QueueId(7);

    fn block(records: u32) -> Arc<Block> {
        let mut builder = BlockBuilder::default();
        for _ in 0..records {
            builder
                .push(&Message { persistent: true, ..Message::published(0, (b"", b"q"), &[0, 0], b"body") });
        }
        Arc::new(builder.build())
    }

    fn publish(first: u64, range: Range<u32>) -> Change {
        Change::Publish { queue: QUEUE, first, block: block(range.end + 1), range }
    }

    fn settle(first: u64, end: u64) -> Change {
        Change::Settle { queue: QUEUE, range: SeqRange { first, end } }
    }

    /// The queue has messages with these numbers.
    fn messages(first: u64, end: u64) -> OnDisk {
        OnDisk { messages: SeqRange { first, end }, declared: true, anything: true, ..OnDisk::default() }
    }

    /// The net effect as (numbers that enter, numbers that leave).
    fn net(before: OnDisk, changes: Vec<Change>) -> (Vec<u64>, Vec<u64>) {
        let mut batch = WriteBatch::default();
        batch.absorb(changes);
        batch.settle(|_| before);
        effect(&batch)
    }

    /// The net effect of groups of so many changes each, which gather in the journal one by one.
    fn merged(before: OnDisk, changes: &[Change], each: usize) -> (Vec<u64>, Vec<u64>) {
        let mut journaled = WriteBatch::default();
        for group in changes.chunks(each) {
            let mut batch = WriteBatch::default();
            batch.absorb(group.to_vec());
            batch.settle(|id| before.in_journal_too(journaled.queues.get(&id)));
            journaled.merge(batch);
        }
        journaled.settle(|_| before);
        effect(&journaled)
    }

    fn effect(batch: &WriteBatch) -> (Vec<u64>, Vec<u64>) {
        let Some(queue) = batch.queues.get(&QUEUE) else {
            assert!(batch.is_empty() && batch.bytes == 0);
            return Default::default();
        };
        let record = block(1).bytes().len();
        assert_eq!(batch.bytes, record * queue.runs.iter().map(|run| run.len() as usize).sum::<usize>());
        (
            queue.runs.iter().flat_map(|run| run.first..run.end()).collect(),
            queue.settled.iter().flat_map(|range| range.first..range.end).collect(),
        )
    }

    #[test]
    fn what_is_settled_before_the_disk_is_not_written() {
        let nothing = OnDisk::default();
        assert_eq!(net(nothing, vec![publish(10, 0..5), settle(10, 15)]), (vec![], vec![]));
        assert_eq!(net(nothing, vec![publish(10, 2..7), settle(11, 13)]), (vec![10, 13, 14], vec![]));
        let numbers = messages(5, 10);
        assert_eq!(net(numbers, vec![publish(10, 0..5), settle(8, 12)]), (vec![12, 13, 14], vec![8, 9]));
        assert_eq!(net(numbers, vec![settle(0, 5), settle(10, 99)]), (vec![], vec![]));
    }

    #[test]
    fn a_deleted_queue_leaves_nothing_but_its_deletion() {
        let declare = Change::DeclareQueue(QueueRecord {
            id: QUEUE,
            vhost: String::new(),
            name: String::new(),
            auto_delete: false,
            arguments: Vec::new(),
        });
        let requeued = Change::Requeue { queue: QUEUE, seq: 10, deliveries: 1, due_ms: 0 };
        let changes = vec![declare, publish(10, 0..5), requeued, Change::DeleteQueue(QUEUE)];
        let mut batch = WriteBatch::default();
        batch.absorb(changes.clone());
        batch.settle(|_| OnDisk::default());
        assert!(batch.is_empty(), "it never was on disk: {batch:?}");
        batch.absorb(changes);
        batch.settle(|_| messages(1, 2));
        assert!(batch.queues[&QUEUE].deleted && batch.queues[&QUEUE].runs.is_empty() && batch.bytes == 0);
    }

    #[test]
    fn requeues_of_settled_messages_and_of_undeclared_queues_are_dropped() {
        let requeued = |seq| Change::Requeue { queue: QUEUE, seq, deliveries: 2, due_ms: 5 };
        let mut batch = WriteBatch::default();
        batch.absorb(vec![requeued(5), requeued(6), settle(5, 6)]);
        batch.settle(|_| messages(5, 10));
        assert_eq!(batch.queues[&QUEUE].requeues, BTreeMap::from([(6, (2, 5))]));
        let mut batch = WriteBatch::default();
        batch.absorb(vec![requeued(5)]);
        batch.settle(|_| OnDisk::default());
        assert!(batch.is_empty());
    }

    #[test]
    fn what_is_spilled_is_part_of_no_group() {
        let spill = |first, range: Range<u32>| Change::Spill {
            queue: QUEUE,
            first,
            block: block(range.end + 1),
            range,
        };
        let local = |batch: &WriteBatch| {
            let local = batch.queues[&QUEUE].local.as_ref().unwrap();
            let enters: Vec<_> = local.runs.iter().flat_map(|run| run.first..run.end()).collect();
            (enters, local.settled.iter().flat_map(|range| range.first..range.end).collect::<Vec<_>>())
        };
        let spilled = OnDisk { spilled: SeqRange { first: 0, end: 5 }, ..OnDisk::default() };
        let mut batch = WriteBatch::default();
        batch.absorb(vec![spill(10, 0..5), settle(3, 12)]);
        batch.settle(|_| spilled);
        assert!(!batch.lasts() && batch.is_urgent());
        assert_eq!(local(&batch), (vec![12, 13, 14], vec![3, 4]));
        assert_eq!((batch.bytes, batch.rows), (3 * block(1).bytes().len(), 1));
        // It gathers beside what is journaled, and is written with that.
        let mut later = WriteBatch::default();
        later.absorb(vec![settle(13, 14), publish(20, 0..1)]);
        later.settle(|_| spilled.in_journal_too(batch.queues.get(&QUEUE)));
        assert!(later.lasts());
        batch.merge(later);
        batch.settle(|_| spilled);
        assert_eq!(local(&batch), (vec![12, 14], vec![3, 4]));
        batch.absorb(vec![Change::DeleteQueue(QUEUE)]);
        batch.settle(|_| OnDisk::default());
        assert!(batch.is_empty(), "nothing of it was on disk: {batch:?}");
        batch.absorb(vec![spill(30, 0..1), Change::DeleteQueue(QUEUE)]);
        batch.settle(|_| spilled);
        assert!(!batch.lasts() && batch.queues[&QUEUE].local.as_ref().unwrap().deleted && batch.bytes == 0);
    }

    /// However small they are, who writes them takes time for each.
    #[test]
    fn rows_of_metadata_count() {
        let unset = |name: &str| Change::Parameter { name: name.to_owned(), value: None };
        let mut batch = WriteBatch::default();
        batch.absorb(vec![publish(10, 0..1), unset("a"), unset("b")]);
        batch.settle(|_| OnDisk::default());
        assert_eq!(batch.rows, 3);
        let mut later = WriteBatch::default();
        later.absorb(vec![unset("a")]);
        later.settle(|_| OnDisk::default());
        batch.merge(later);
        assert_eq!(batch.rows, 4);
        let mut large = WriteBatch::default();
        let value = Some("x".repeat(16 * 1024));
        large.absorb(vec![Change::Parameter { name: "a".to_owned(), value }]);
        large.settle(|_| OnDisk::default());
        assert_eq!(large.rows, 65, "what is large takes longer");
        let mut deleted = WriteBatch::default();
        deleted.absorb(vec![Change::DeleteQueue(QUEUE), Change::DeleteQueue(QueueId(8))]);
        deleted.settle(|id| OnDisk { anything: id == QUEUE, ..OnDisk::default() });
        assert_eq!(deleted.rows, 16, "it is looked for in many tables");
    }

    /// Against a model of sets of numbers, in one go and in several groups.
    #[test]
    fn random_groups_have_the_effect_of_their_changes() {
        for seed in seeds(1) {
            let mut draw = Draw::new(seed);
            let mut below = |n: u64| draw.below(n);
            for round in 0..500 {
                let on_disk = below(50);
                let numbers = messages(0, on_disk);
                let (mut enters, mut leaves) = (BTreeSet::new(), BTreeSet::new());
                let mut next = on_disk;
                let mut changes = Vec::new();
                for _ in 0..below(12) {
                    if below(2) == 0 {
                        let (from, count) = (below(3), below(9));
                        next += below(2);
                        let range = u32::try_from(from).unwrap()..u32::try_from(from + count).unwrap();
                        changes.push(publish(next, range));
                        enters.extend(next..next + count);
                        next += count;
                    } else if next > 0 {
                        let first = below(next);
                        let end = first + below(next - first + 1);
                        changes.push(settle(first, end));
                        enters.retain(|seq| !(first..end).contains(seq));
                        leaves.extend(first..end.min(on_disk).max(first));
                    }
                }
                let expected = (enters.into_iter().collect(), leaves.into_iter().collect());
                assert_eq!(net(numbers, changes.clone()), expected, "seed {seed}, round {round}");
                let groups = usize::try_from(1 + below(4)).unwrap();
                let merged = merged(numbers, &changes, changes.len().div_ceil(groups).max(1));
                assert_eq!(merged, expected, "seed {seed}, round {round}, {groups} groups");
            }
        }
    }
}

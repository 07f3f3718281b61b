//! The log of one queue: which messages live, where their bytes are, and which may be delivered next.
//!
//! Pure state under the queue's lock; what must happen elsewhere leaves as [`Change`]s and [`Dead`] messages.
//!
//! ```text
//!   sequence numbers:   ... settled ... | live ........................................ | tail
//!                                       unacked, with returned ones between  ^next  fresh
//! ```
//!
//! Invariants: every number from `next` to `tail` is live; `returned`, `failed` and `dying` hold live numbers below
//! `next` only, and `returned` shares none with the other two.

use crate::broker::queue::ranges::RangeMap;
use crate::ids::{QueueId, SeqRange};
use crate::message::Block;
use crate::store::change::{Change, RecoveredQueue};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Where the bytes of live messages are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In a block whose record 0 would have the number `base` (wrapping).
    Memory {
        block: Arc<Block>,
        base: u64,
        /// Whether the store was told of them, so that it must be told when they are settled.
        logged: bool,
    },
    /// On disk only.
    Disk,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Memory { block, base, logged },
                Self::Memory { block: other_block, base: other_base, logged: other_logged },
            ) => Arc::ptr_eq(block, other_block) && base == other_base && logged == other_logged,
            (Self::Disk, Self::Disk) => true,
            (Self::Memory { .. }, Self::Disk) | (Self::Disk, Self::Memory { .. }) => false,
        }
    }
}

/// The records of `block`, whose record 0 has the number `base`, that `range` names.
pub(super) fn records(block: &Block, base: u64, range: SeqRange) -> Range<u32> {
    let index = |seq: u64| u32::try_from(seq.wrapping_sub(base)).unwrap_or(u32::MAX).min(block.len());
    index(range.first)..index(range.end)
}

/// Memory that a block takes beside its records: its counts, its offsets, its entry in the map. An estimate, so that
/// a backlog of single messages does not hide in a budget of bytes.
const BLOCK_OVERHEAD: usize = 256;

/// What `records` of `block` add to a queue's memory; the overhead lies with the first record.
pub(super) fn weight(block: &Block, records: Range<u32>) -> usize {
    let overhead = if records.start == 0 { BLOCK_OVERHEAD } else { 0 };
    block.bytes_of(records) + overhead
}

/// Why a message leaves its queue for the dead-letter exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathReason {
    /// A consumer rejected it without requeue.
    Rejected,
    /// It was returned more often than the queue's delivery limit allows.
    DeliveryLimit,
}

impl DeathReason {
    /// As the `x-death` header writes it (RabbitMQ: dlx.md).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Messages that died in a queue and go to its dead-letter exchange.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Where the records are.
    pub block: Arc<Block>,
    /// Which of them.
    pub range: Range<u32>,
    /// Why.
    pub reason: DeathReason,
}

/// A message that was returned and may be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
}

/// The next messages to deliver, all from one block.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) first: u64,
    pub(super) block: Arc<Block>,
    pub(super) range: Range<u32>,
    pub(super) redelivered: bool,
    pub(super) deliveries: u32,
}

/// What there is to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Empty,
    /// These messages are next and in memory; they share one fate (returned alike, or fresh).
    Ready(SeqRange),
    /// These are next, and on disk.
    OnDisk(SeqRange),
}

/// What happens to messages that die.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// Whether the queue has a dead-letter exchange.
    pub(super) dead_letters: bool,
    /// Failed deliveries that a message survives.
    pub(super) limit: Option<u32>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Core {
    queue: QueueId,
    pub(super) live: RangeMap<Place>,
    pub(super) next: u64,
    pub(super) tail: u64,
    returned: RangeMap<Returned>,
    /// Delivered again and unacknowledged: how often that failed before.
    failed: RangeMap<u32>,
    /// Dead, but on disk only: they leave when their bytes are read.
    pub(super) dying: RangeMap<DeathReason>,
    /// Numbers below this were here when the process started and may have been delivered before.
    redelivered_below: u64,
    /// Bytes of live records in memory.
    pub(super) resident: usize,
    /// What the store must be told; taken after each operation.
    pub(super) changes: Vec<Change>,
    pub(super) dead: Vec<Dead>,
    /// Messages dropped at the delivery limit for want of a dead-letter exchange.
    pub(super) dropped_at_limit: u64,
}

impl Core {
    pub(super) fn new(queue: QueueId) -> Self {
        Self {
            queue,
            live: RangeMap::default(),
            next: 0,
            tail: 0,
            returned: RangeMap::default(),
            failed: RangeMap::default(),
            dying: RangeMap::default(),
            redelivered_below: 0,
            resident: 0,
            changes: Vec::new(),
            dead: Vec::new(),
            dropped_at_limit: 0,
        }
    }

    /// The state of a queue that was on disk. After a crash any message may have been delivered before.
    pub(super) fn recover(recovered: &RecoveredQueue, clean: bool) -> Self {
        let mut core = Self::new(recovered.record.id);
        core.tail = recovered.next;
        // Numbers that were delivered and are gone may be given again: they say nothing about new messages.
        let seen = if clean { recovered.delivered_up_to } else { recovered.next };
        core.redelivered_below = seen.min(core.tail);
        for &range in &recovered.messages {
            core.live.insert(range, Place::Disk);
        }
        // The last stretch without a hole or a failed delivery is fresh; everything before it was returned.
        let unbroken = match recovered.messages.last() {
            Some(range) if range.end == core.tail => range.first,
            Some(_) | None => core.tail,
        };
        let after_failed = recovered.returns.last().map_or(0, |&(seq, _)| seq + 1);
        core.next = unbroken.max(after_failed).max(core.redelivered_below).min(core.tail);
        let counts: BTreeMap<u64, u32> = recovered.returns.iter().copied().collect();
        for &range in &recovered.messages {
            core.put_back_recovered(range.meet(SeqRange { first: 0, end: core.next }), &counts);
        }
        core
    }

    fn put_back_recovered(&mut self, range: SeqRange, counts: &BTreeMap<u64, u32>) {
        let mut at = range.first;
        for (&seq, &deliveries) in counts.range(range.first..range.end.max(range.first)) {
            self.put_back_plain(SeqRange { first: at, end: seq });
            self.returned.insert(SeqRange::of(seq, 1), Returned { deliveries, redelivered: true });
            at = seq + 1;
        }
        self.put_back_plain(SeqRange { first: at, end: range.end });
    }

    fn put_back_plain(&mut self, range: SeqRange) {
        let seen = range.meet(SeqRange { first: 0, end: self.redelivered_below });
        self.returned.insert(seen, Returned { deliveries: 0, redelivered: true });
        let unseen = SeqRange { first: range.first.max(seen.end), end: range.end };
        self.returned.insert(unseen, Returned { deliveries: 0, redelivered: false });
    }

    /// Messages that may be delivered.
    pub(super) fn ready(&self) -> u64 {
        self.returned.len() + (self.tail - self.next)
    }

    /// Messages that were delivered and not settled.
    pub(super) fn unacked(&self) -> u64 {
        self.live.len() - self.ready()
    }

    /// Numbers the records of `block` and appends them; `logged` tells the store.
    pub(super) fn push(&mut self, block: &Arc<Block>, logged: bool) -> SeqRange {
        let range = SeqRange::of(self.tail, u64::from(block.len()));
        if logged {
            self.changes.push(Change::Publish {
                queue: self.queue,
                first: range.first,
                block: Arc::clone(block),
                range: 0..block.len(),
            });
        }
        self.resident += weight(block, 0..block.len());
        self.live.insert(range, Place::Memory { block: Arc::clone(block), base: range.first, logged });
        self.tail = range.end;
        range
    }

    /// What is next: messages that came back in their old place, then fresh ones.
    pub(super) fn head(&self) -> Head {
        let range = match self.returned.first() {
            Some((range, _)) => range,
            None if self.next < self.tail => SeqRange { first: self.next, end: self.tail },
            None => return Head::Empty,
        };
        match self.live.at(range.first) {
            Some((piece, Place::Memory { .. })) => Head::Ready(range.meet(piece)),
            Some((piece, Place::Disk)) => Head::OnDisk(range.meet(piece)),
            None => Head::Empty,
        }
    }

    /// Bytes of the first of `range`, which is in memory, that make `count` messages at most and `bytes` at most, but
    /// one at least: how many messages that is, and their bytes.
    pub(super) fn fit(&self, range: SeqRange, count: u32, bytes: usize) -> (u32, usize) {
        let Some((_, Place::Memory { block, base, .. })) = self.live.at(range.first) else { return (0, 0) };
        let records = records(block, *base, range);
        let most = (records.end - records.start).min(count.max(1));
        let size = |n: u32| block.bytes_of(records.start..records.start + n);
        if size(most) <= bytes {
            return (most, size(most));
        }
        let (mut fits, mut beyond) = (1, most);
        while beyond - fits > 1 {
            let middle = fits + (beyond - fits) / 2;
            if size(middle) <= bytes {
                fits = middle;
            } else {
                beyond = middle;
            }
        }
        (fits, size(fits))
    }

    /// Takes the first `count` messages of what [`Core::head`] said is ready; `settled` removes them for good.
    pub(super) fn take(&mut self, range: SeqRange, count: u32, settled: bool) -> Option<Taken> {
        let range = SeqRange::of(range.first, u64::from(count));
        let (block, records) = match self.live.at(range.first) {
            Some((_, Place::Memory { block, base, .. })) => (Arc::clone(block), records(block, *base, range)),
            Some((_, Place::Disk)) | None => return None,
        };
        let mut mark = Returned { deliveries: 0, redelivered: range.first < self.redelivered_below };
        if range.first < self.next {
            self.returned.take(range, |_, returned| mark = returned);
            if mark.deliveries > 0 && !settled {
                self.failed.insert(range, mark.deliveries);
            }
        } else {
            self.next = range.end;
        }
        if settled {
            self.remove(range);
        }
        let Returned { deliveries, redelivered } = mark;
        Some(Taken { first: range.first, block, range: records, redelivered, deliveries })
    }

    /// Removes messages for good, wherever they are.
    pub(super) fn remove(&mut self, range: SeqRange) -> u64 {
        let (mut removed, mut logged, mut freed) = (0, false, 0);
        self.live.take(range, |piece, place| {
            removed += piece.len();
            match place {
                Place::Memory { block, base, logged: told } => {
                    logged |= told;
                    freed += weight(&block, records(&block, base, piece));
                }
                Place::Disk => logged = true,
            }
        });
        self.resident -= freed;
        if !self.failed.is_empty() {
            self.failed.take(range, |_, _| ());
        }
        if logged {
            self.tell_settled(range);
        }
        removed
    }

    fn tell_settled(&mut self, range: SeqRange) {
        if let Some(Change::Settle { range: last, .. }) = self.changes.last_mut()
            && last.end == range.first
        {
            last.end = range.end;
            return;
        }
        self.changes.push(Change::Settle { queue: self.queue, range });
    }

    /// Puts delivered messages back in their old place. Counted ones have failed once more, and die beyond the limit.
    pub(super) fn put_back(&mut self, range: SeqRange, counted: bool, fate: Fate) {
        let mut outstanding = Vec::new();
        self.live.within(range, |piece, place| {
            outstanding.push((piece, matches!(place, Place::Disk | Place::Memory { logged: true, .. })));
        });
        for (piece, logged) in outstanding {
            let mut counts = Vec::new();
            self.failed.take_with_gaps(piece, |part, count| counts.push((part, count.unwrap_or(0))));
            for (part, before) in counts {
                let deliveries = before + u32::from(counted);
                if counted && fate.limit.is_some_and(|limit| deliveries > limit) {
                    self.die(part, DeathReason::DeliveryLimit, fate.dead_letters);
                    continue;
                }
                if counted && logged && fate.limit.is_some() {
                    let queue = self.queue;
                    self.changes.extend((part.first..part.end).map(|seq| Change::Return {
                        queue,
                        seq,
                        deliveries,
                    }));
                }
                let redelivered = deliveries > 0 || part.first < self.redelivered_below;
                self.returned.insert(part, Returned { deliveries, redelivered });
            }
        }
    }

    /// Ends delivered messages: to the dead-letter exchange, or nowhere.
    pub(super) fn die(&mut self, range: SeqRange, reason: DeathReason, dead_letters: bool) {
        if !dead_letters {
            let dropped = self.remove(range);
            if reason == DeathReason::DeliveryLimit {
                self.dropped_at_limit += dropped;
            }
            return;
        }
        let mut in_memory = Vec::new();
        self.live.within(range, |piece, place| match place {
            Place::Memory { block, base, .. } => {
                in_memory.push(piece);
                self.dead.push(Dead {
                    range: records(block, *base, piece),
                    block: Arc::clone(block),
                    reason,
                });
            }
            Place::Disk => self.dying.insert(piece, reason),
        });
        for piece in in_memory {
            self.remove(piece);
        }
    }

    /// Bytes of dying messages have come from disk: they leave now.
    pub(super) fn bury(&mut self) {
        let mut dying = Vec::new();
        self.dying.take(SeqRange { first: 0, end: u64::MAX }, |range, reason| dying.push((range, reason)));
        for (range, reason) in dying {
            self.die(range, reason, true);
        }
    }

    /// Messages that should be on disk are not there: they are gone, and the queue goes on without them.
    pub(super) fn lose(&mut self, range: SeqRange) -> u64 {
        self.returned.take(range, |_, _| ());
        self.dying.take(range, |_, _| ());
        if range.end > self.next {
            let before = SeqRange { first: self.next, end: range.first.max(self.next) };
            self.returned.insert(before, Returned { deliveries: 0, redelivered: false });
            self.next = range.end;
        }
        self.remove(range)
    }

    /// Drops all messages that may be delivered; how many.
    pub(super) fn purge(&mut self) -> u64 {
        let fresh = SeqRange { first: self.next, end: self.tail };
        self.next = self.tail;
        let mut ready = Vec::new();
        self.returned.take(SeqRange { first: 0, end: u64::MAX }, |range, _| ready.push(range));
        ready.push(fresh);
        ready.into_iter().map(|range| self.remove(range)).sum()
    }
}

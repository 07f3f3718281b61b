//! The lock on what was seen, while one block comes in: duplicates are taken out, and the rest is
//! remembered.
//!
//! What a full queue refuses was not taken in, so it is not remembered; nor are its duplicates in
//! the same block confirmed.

use super::{Deduplicator, Memory};
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::{Block, BlockBuilder};
use crate::store::change::{Change, Log};
use crate::store::seen::SeenRecord;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

/// The records of a block that are left, and where each of them was in it.
#[derive(Debug, Clone)]
pub(crate) struct Sifted {
    pub(crate) block: Arc<Block>,
    /// Ascending; nothing as long as all are there.
    places: Option<Arc<[u32]>>,
}

/// The lock on a deduplication cache while one block is filtered.
pub(crate) struct DedupGuard<'a> {
    owner: &'a Deduplicator,
    memory: MutexGuard<'a, Memory>,
    fresh: Vec<Fresh>,
    /// Where duplicates of fresh ones were, and of which number.
    echoes: Vec<(u32, u64)>,
    /// How many duplicates there were.
    pub(crate) duplicates: u64,
}

/// A value that is seen for the first time.
struct Fresh {
    /// Where its message is in the block as it came.
    place: u32,
    value: Arc<[u8]>,
    number: u64,
    until_ms: u64,
    /// Its message survives a restart.
    persistent: bool,
}

impl Sifted {
    /// All of `block`.
    pub(crate) fn all(block: Arc<Block>) -> Self {
        Self { block, places: None }
    }

    /// Where these records were in the block as it came, as ranges that do not touch, if these do
    /// not.
    pub(crate) fn places_of(&self, records: Vec<Range<u32>>) -> Vec<Range<u32>> {
        match &self.places {
            None => records,
            Some(_) => joined(records.into_iter().flatten().map(|index| self.place(index))),
        }
    }

    fn place(&self, index: u32) -> u32 {
        self.places.as_ref().and_then(|places| places.get(index as usize)).copied().unwrap_or(index)
    }

    /// Without some records, in ascending order.
    fn without(&self, left_out: &[u32]) -> Self {
        let (mut builder, mut places) = (BlockBuilder::default(), Vec::new());
        let mut left_out = left_out.iter().peekable();
        for index in 0..self.block.len() {
            if left_out.next_if(|next| **next == index).is_none() {
                builder.push(&self.block.message(index));
                places.push(self.place(index));
            }
        }
        Self { block: Arc::new(builder.build()), places: Some(places.into()) }
    }
}

impl<'a> DedupGuard<'a> {
    pub(crate) fn begin(owner: &'a Deduplicator) -> Self {
        let (memory, fresh, echoes) = (owner.lock(), Vec::new(), Vec::new());
        Self { owner, memory, fresh, echoes, duplicates: 0 }
    }

    /// Takes the duplicates out, and remembers the rest if it goes anywhere. What is returned is
    /// durable when the messages are that the duplicates repeat.
    pub(crate) fn sift(&mut self, sifted: &mut Sifted, remember: bool, now: Now) -> Ticket {
        let mut waits_for = Ticket(0);
        if self.memory.closed {
            return waits_for;
        }
        let mut duplicates = Vec::new();
        for index in 0..sifted.block.len() {
            let message = sifted.block.message(index);
            let Some(id) = self.owner.rules.id_of(&message, now.unix_ms) else { continue };
            let place = sifted.place(index);
            if let Some(seen) = self.memory.cache.find(&id.value, now.unix_ms) {
                waits_for = waits_for.max(seen.ticket);
                duplicates.push(index);
                if self.fresh.first().is_some_and(|first| first.number <= seen.number) {
                    self.echoes.push((place, seen.number));
                }
            } else if remember {
                let (value, until_ms) = (Arc::from(id.value), id.until_ms);
                let number = self.memory.cache.insert(&value, until_ms);
                self.fresh.push(Fresh { place, value, number, until_ms, persistent: message.persistent });
            }
        }
        self.duplicates += duplicates.len() as u64;
        if !duplicates.is_empty() {
            *sifted = sifted.without(&duplicates);
        }
        waits_for
    }

    /// What was not taken in after all, in ascending order of places, is forgotten; where its
    /// duplicates were.
    pub(crate) fn forget(&mut self, refused: &[Range<u32>]) -> Vec<Range<u32>> {
        if refused.is_empty() {
            return Vec::new();
        }
        let mut forgotten = Vec::new();
        let Self { memory, fresh, .. } = self;
        fresh.retain(|one| {
            let at = refused.partition_point(|range| range.end <= one.place);
            let is_refused = refused.get(at).is_some_and(|range| range.contains(&one.place));
            if is_refused {
                memory.cache.forget(&one.value, one.number);
                forgotten.push(one.number);
            }
            !is_refused
        });
        let lost = self.echoes.iter().filter(|(_, number)| forgotten.binary_search(number).is_ok());
        joined(lost.map(|(place, _)| *place))
    }

    /// What was remembered came with messages that are durable with
    /// `ticket`; some of them survive a restart if `kept`. The ticket that is returned covers the
    /// memory too.
    pub(crate) fn end(mut self, log: &dyn Log, ticket: Ticket, kept: bool) -> Ticket {
        let mut changes = Vec::new();
        if kept && self.owner.durable {
            let persistent = self.fresh.iter().filter(|fresh| fresh.persistent);
            changes.extend(persistent.map(|fresh| {
                Change::Seen(SeenRecord {
                    by: self.owner.by.clone(),
                    slot: self.memory.cache.slot(fresh.number),
                    number: fresh.number,
                    until_ms: fresh.until_ms,
                    value: fresh.value.to_vec(),
                })
            }));
        }
        let ticket = if changes.is_empty() { ticket } else { ticket.max(log.append(&mut changes)) };
        for fresh in &self.fresh {
            self.memory.cache.set_ticket(&fresh.value, fresh.number, ticket);
        }
        ticket
    }
}

/// Ascending numbers as ranges that do not touch.
fn joined(numbers: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

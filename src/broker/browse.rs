//! Messages as whoever looks into a queue sees them: nothing is locked for longer than a window of
//! numbers, nothing is counted, and nothing is moved.
//!
//! The queue says, a window at a time, how its messages stand and where their records are; what is
//! on disk alone is read here, without its lock. So what is told of a message was so a moment ago.

use super::effects::EffectHandler;
use super::paging::PAGE_BYTES;
use crate::ids::SeqRange;
use crate::message::{Block, Message};
use crate::queue::Queue;
use crate::queue::browse::{LookedRun, MessageState, Named};
use crate::queue::delayed::due_ms;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages whose records are looked at in one go, at most.
const RECORDS_MAX: u64 = 10_000;

/// Windows that are looked at in one go, at most.
const WINDOWS_MAX: usize = 128;

/// Bytes that are read from disk in one go; the read that goes beyond is the last.
const READ_BYTES_MAX: usize = 16 << 20;

/// What a read costs beside what it brings, in bytes.
const READ_COST: usize = 4096;

/// A message in its queue.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub seq: u64,
    /// How it stands.
    pub state: MessageState,
    /// How often its delivery failed.
    pub deliveries: u32,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The block that holds it.
    pub block: Arc<Block>,
    /// Which of its records.
    pub index: u32,
}

/// How far it was looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Where to go on; none at the end.
    pub next: Option<u64>,
    /// Messages that were passed on the way.
    pub looked_at: u64,
}

/// From where it is looked, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// The first number, or with `back` one past the last.
    pub from: u64,
    /// Towards the head.
    pub back: bool,
}

/// Looks at messages.
#[derive(Clone, Copy)]
pub struct Browser<'a>(pub(super) &'a EffectHandler);

impl Found {
    /// The message.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        self.block.message(self.index)
    }

    /// What its queue needs to know of it to take it out.
    pub(super) fn named(&self) -> Named {
        Named {
            seq: self.seq,
            bytes: self.block.bytes_of(self.index..self.index + 1) as u64,
            own_due_ms: due_ms(&self.message()),
        }
    }

    /// Until when it waits, milliseconds since 1970, if it does.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        match self.state {
            MessageState::Delayed { due_ms: 0 } => Some(due_ms(&self.message())),
            MessageState::Delayed { due_ms } => Some(due_ms),
            MessageState::Ready | MessageState::Unacknowledged | MessageState::Dead { .. } => None,
        }
    }
}

impl Browser<'_> {
    /// Shows messages in a state that is wanted, until `show` says that it has no room for one, so
    /// much was looked at as may be in one go, or there are no more. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn each(
        self,
        queue: &Queue,
        Direction { from, back }: Direction,
        wants: impl Fn(MessageState) -> bool,
        mut show: impl FnMut(Found) -> bool,
    ) -> Result<Looked, StoreError> {
        let (mut at, mut looked_at, mut shown) = (from, 0, 0);
        let mut records = Records::of(self, queue);
        for _window in 0..WINDOWS_MAX {
            let Some(look) = queue.look(at, back) else { return Ok(Looked { next: None, looked_at }) };
            for run in in_order(look.runs, back) {
                if !wants(run.state) {
                    looked_at += run.range.len();
                    continue;
                }
                for seq in in_order(run.range.first..run.range.end, back) {
                    let next = Some(if back { seq + 1 } else { seq });
                    if shown >= RECORDS_MAX || records.read >= READ_BYTES_MAX {
                        return Ok(Looked { next, looked_at });
                    }
                    if let Some(found) = records.find(&run, seq, back)? {
                        shown += 1;
                        if !show(found) {
                            return Ok(Looked { next, looked_at });
                        }
                    }
                    looked_at += 1;
                }
            }
            at = if back { look.window.first } else { look.window.end };
        }
        let next = queue.look(at, back).map(|look| if back { look.window.end } else { look.window.first });
        Ok(Looked { next, looked_at })
    }

    /// The message of that number. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn one(self, queue: &Queue, seq: u64) -> Result<Option<Found>, StoreError> {
        Records::of(self, queue).one(seq)
    }

    /// Shows messages that wait until `after` (milliseconds since 1970, number) or longer, `most`
    /// at most, in order of time: where to go on. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn delayed(
        self,
        queue: &Queue,
        after: (u64, u64),
        most: usize,
        mut show: impl FnMut(Found) -> bool,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let mut records = Records::of(self, queue);
        let due = queue.delayed_from(after, most.saturating_add(1));
        for (at, &(due_ms, seq)) in due.iter().enumerate() {
            let go_on = at < most && records.read < READ_BYTES_MAX;
            let found = if go_on { records.one(seq)? } else { None };
            let is_shown = found.is_none_or(|found| found.due_ms().is_none() || show(found));
            if !go_on || !is_shown {
                return Ok(Some((due_ms, seq)));
            }
        }
        Ok(None)
    }

    /// Where to begin to see what arrived at `ms`, milliseconds since 1970, or later: everything
    /// before it arrived earlier. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn since(self, queue: &Queue, ms: u64) -> Result<u64, StoreError> {
        if let Some(at) = queue.since(ms) {
            return Ok(at);
        }
        // In each lane they stand in order of arrival; with several of them all are looked at.
        let &[tail] = queue.tails().as_slice() else { return Ok(0) };
        let (mut low, mut high) = (queue.look(0, false).map_or(tail, |look| look.window.first), tail);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut arrived = None;
            let from = Direction { from: middle, back: false };
            self.each(
                queue,
                from,
                |_any| true,
                |found| {
                    arrived = Some((found.seq, found.message().arrived_at_ms));
                    false
                },
            )?;
            match arrived {
                Some((seq, arrived_ms)) if arrived_ms < ms => low = seq + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }
}

/// Elements in their order, or from the last one on.
fn in_order<I>(all: I, back: bool) -> Box<dyn Iterator<Item = I::Item>>
where
    I: IntoIterator,
    I::IntoIter: DoubleEndedIterator + 'static,
{
    if back { Box::new(all.into_iter().rev()) } else { Box::new(all.into_iter()) }
}

/// The records of a queue, with what was read of them.
struct Records<'a> {
    browser: Browser<'a>,
    queue: &'a Queue,
    /// By the number of the first record.
    pages: BTreeMap<u64, Arc<Block>>,
    /// What reading has cost so far.
    read: usize,
}

impl<'a> Records<'a> {
    fn of(browser: Browser<'a>, queue: &'a Queue) -> Self {
        Self { browser, queue, pages: BTreeMap::new(), read: 0 }
    }

    fn one(&mut self, seq: u64) -> Result<Option<Found>, StoreError> {
        let look = self.queue.look(seq, false).unwrap_or_default();
        let run = look.runs.into_iter().find(|run| (run.range.first..run.range.end).contains(&seq));
        run.map_or(Ok(None), |run| self.find(&run, seq, true))
    }

    /// The message of that number, which is one of `run`; none if its record is missing. `alone`:
    /// what comes after it is not going to be asked for.
    fn find(&mut self, run: &LookedRun, seq: u64, alone: bool) -> Result<Option<Found>, StoreError> {
        let (block, base) = match &run.place {
            Some((block, base)) => (Arc::clone(block), *base),
            None => match self.on_disk(run.range, seq, alone)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let LookedRun { state, deliveries, redelivered, .. } = *run;
        let Ok(index) = u32::try_from(seq.wrapping_sub(base)) else { return Ok(None) };
        Ok((index < block.len()).then_some(Found { seq, state, deliveries, redelivered, block, index }))
    }

    fn on_disk(
        &mut self,
        range: SeqRange,
        seq: u64,
        alone: bool,
    ) -> Result<Option<(Arc<Block>, u64)>, StoreError> {
        if let Some(found) = self.in_pages(seq) {
            return Ok(Some(found));
        }
        // The first read is small: as a rule a few messages are wanted.
        let alone = alone || self.read == 0;
        let (end, bytes_max) = if alone { (seq + 1, 1) } else { (range.end, PAGE_BYTES) };
        let pages = self.browser.0.pages.load(self.queue.id, SeqRange { first: seq, end }, bytes_max)?;
        self.read += READ_COST;
        for page in pages {
            self.read += page.block.bytes().len();
            self.pages.insert(page.first, Arc::new(page.block));
        }
        Ok(self.in_pages(seq))
    }

    fn in_pages(&self, seq: u64) -> Option<(Arc<Block>, u64)> {
        let (&first, block) = self.pages.range(..=seq).next_back()?;
        (seq - first < u64::from(block.len())).then(|| (Arc::clone(block), first))
    }
}

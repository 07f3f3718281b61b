//! One consumer of a stream: where it is, what it holds, and what it is dealt next.
//!
//! It is dealt no more than its prefetch allows and no more bytes than its session will soon
//! encode; from disk it keeps a bounded number of bytes ahead of where it is. Acknowledgements give
//! it room and, if it is to be remembered, tell how far it came; nothing is ever delivered to it
//! twice.

use super::log::{StreamLog, fit};
use super::pages::Pages;
use super::reading::{Filter, Reading, Start};
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::consumers::Consumer;
use crate::queue::mailbox::{DeliveryRun, Mail};
use crate::queue::ranges::RangeMap;
use crate::queue::unread::Share;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of records dealt and not yet encoded, beyond which no more are dealt. Less than a queue
/// deals: streams have many consumers, and each may hold other blocks.
const WINDOW_BYTES: usize = 256 << 10;

/// With fewer bytes than this before it a reader asks for the next page.
const AHEAD_BYTES: usize = 256 << 10;

/// A consumer of a stream: its position, its unacknowledged messages and its next ones.
#[derive(Debug)]
pub(super) struct StreamReader {
    pub(super) consumer: Consumer,
    /// The next number to look at.
    position: u64,
    /// What arrived before this time, milliseconds since 1970, is passed over below that number.
    since: Option<(u64, u64)>,
    filter: Option<Filter>,
    track: Option<Track>,
    /// Delivered and not settled.
    pub(super) unacked: u32,
    /// Bytes dealt and not yet encoded.
    unsent: Share,
    /// Pages from `position` on, each with its first number.
    ahead: VecDeque<(u64, Arc<Block>)>,
    /// It is in line for a page.
    pub(super) hungry: bool,
}

/// What is known of a consumer that is to be remembered.
#[derive(Debug)]
struct Track {
    name: Box<str>,
    /// Delivered and not settled.
    outstanding: RangeMap<()>,
    /// What was last written down.
    told: u64,
}

impl StreamReader {
    /// A reader that begins where `reading` says; `remembered` is where one of its name was.
    pub(super) fn new(
        consumer: Consumer,
        reading: Reading,
        remembered: Option<u64>,
        log: &StreamLog,
    ) -> Self {
        let (first, next) = (log.first(), log.next);
        let start = remembered.map_or(reading.start, Start::Offset);
        let (position, since) = match start {
            Start::First => (first, None),
            Start::Last => (next.saturating_sub(1), None),
            Start::Next => (next, None),
            Start::Offset(number) => (number, None),
            Start::FromEnd(count) => (next.saturating_sub(count), None),
            Start::Since(ms) => (log.since(ms), Some((ms, next))),
        };
        let position = position.max(first);
        let track =
            reading.track.map(|name| Track { name, outstanding: RangeMap::default(), told: position });
        let filter = reading.filter;
        let (ahead, hungry) = (VecDeque::new(), false);
        let unsent = Share::of(consumer.mailbox.unread());
        Self { consumer, position, since, filter, track, unacked: 0, unsent, ahead, hungry }
    }

    /// How many messages, and bytes, it may be dealt now.
    fn room(&self) -> Option<(u32, usize)> {
        let count = self.consumer.prefetch.saturating_sub(self.unacked);
        let bytes = self.unsent.room(WINDOW_BYTES);
        (count > 0 && bytes > 0).then_some((count, bytes))
    }

    /// Posts what there is for it and what it has room for; how many messages that are.
    pub(super) fn dispatch(&mut self, log: &StreamLog, pages: &mut Pages) -> u64 {
        let (mut mail, mut dispatched) = (Vec::new(), 0);
        while let Some((count, bytes)) = self.room() {
            let Some((base, block)) = self.current(log, pages) else { break };
            let start = u32::try_from(self.position - base).unwrap_or(u32::MAX);
            let range = self.choose(&block, base, start, (count, bytes));
            self.position = base + u64::from(range.end);
            if range.is_empty() {
                continue;
            }
            let first = base + u64::from(range.start);
            let count = range.end - range.start;
            self.unacked += count;
            dispatched += u64::from(count);
            self.unsent.set(self.unsent.bytes() + block.bytes_of(range.clone()));
            if let Some(track) = &mut self.track {
                track.outstanding.insert(SeqRange::of(first, count.into()), ());
            }
            let consumer = self.consumer.id;
            mail.push(Mail::Deliver(DeliveryRun {
                consumer,
                first,
                block,
                range,
                redelivered: false,
                deliveries: 0,
            }));
        }
        if !mail.is_empty() {
            self.consumer.mailbox.post(&mut mail);
        }
        dispatched
    }

    /// The block that holds what is next, if it is in memory, and its first number.
    fn current(&mut self, log: &StreamLog, pages: &mut Pages) -> Option<(u64, Arc<Block>)> {
        self.position = pages.beyond_hole(self.position.max(log.first()));
        if self.position >= log.tail_first() {
            pages.stale |= !self.ahead.is_empty();
            self.ahead.clear();
            return log.in_tail(self.position).map(|(first, block)| (first, Arc::clone(block)));
        }
        while let Some((first, block)) = self.ahead.front()
            && first + u64::from(block.len()) <= self.position
        {
            self.ahead.pop_front();
            pages.stale = true;
        }
        match self.ahead.front() {
            Some((first, block)) if *first <= self.position => Some((*first, Arc::clone(block))),
            _ => {
                self.ahead.clear();
                self.ahead.extend(pages.find(self.position));
                self.ahead.front().cloned()
            }
        }
    }

    /// Which records of `block` from `start` on are next: those that it wants and that follow each
    /// other. An empty range ends where it wants to go on.
    fn choose(&mut self, block: &Block, base: u64, start: u32, room: (u32, usize)) -> Range<u32> {
        let (count, bytes) = (room.0, room.1 as u64);
        if self.filter.is_none() && self.since.is_none() {
            return start..start + fit(block, start, count, bytes);
        }
        let len = block.len();
        let Some(first) = (start..len).find(|&index| self.wants(block, base, index)) else { return len..len };
        let most = first + fit(block, first, count, bytes);
        let end = (first + 1..most).find(|&index| !self.wants(block, base, index)).unwrap_or(most);
        first..end
    }

    fn wants(&mut self, block: &Block, base: u64, index: u32) -> bool {
        let message = block.message(index);
        if let Some((ms, below)) = self.since {
            if base + u64::from(index) < below && message.arrived_at_ms < ms {
                return false;
            }
            self.since = None;
        }
        self.filter.as_ref().is_none_or(|filter| filter.wants(&message))
    }

    /// What it would have read from disk. Takes pages that others have.
    pub(super) fn wanted(&mut self, log: &StreamLog, pages: &Pages) -> Option<SeqRange> {
        self.room()?;
        let end = log.tail_first();
        loop {
            let held: usize = self.ahead.iter().map(|(_, block)| block.bytes().len()).sum();
            let after =
                self.ahead.back().map_or(self.position, |(first, block)| first + u64::from(block.len()));
            let first = pages.beyond_hole(after.max(log.first()));
            if held >= AHEAD_BYTES || first >= end {
                return None;
            }
            match pages.find(first) {
                Some(page) => self.ahead.push_back(page),
                None => return Some(SeqRange { first, end }),
            }
        }
    }

    /// Keeps no page while it has no room.
    pub(super) fn drop_pages(&mut self, pages: &mut Pages) {
        if self.room().is_none() && !self.ahead.is_empty() {
            self.ahead = VecDeque::new();
            pages.stale = true;
        }
    }

    /// These messages are settled. Where it is now, when it is to be remembered and that has
    /// changed.
    pub(super) fn release(&mut self, range: SeqRange) -> Option<(Box<str>, u64)> {
        let count = u32::try_from(range.len()).unwrap_or(u32::MAX);
        self.unacked = self.unacked.saturating_sub(count);
        self.track.as_mut()?.release(range, self.position)
    }

    /// What is to be remembered of a consumer that has gone and still holds messages.
    pub(super) fn leave(self) -> Option<Left> {
        let track = self.track.filter(|track| !track.outstanding.is_empty())?;
        Some(Left { track, position: self.position })
    }

    /// `bytes` of what it was dealt have been encoded.
    pub(super) fn credit(&mut self, bytes: usize) {
        self.unsent.set(self.unsent.bytes().saturating_sub(bytes));
    }
}

/// A named consumer that has gone, and whose channel may still settle what it held.
#[derive(Debug)]
pub(super) struct Left {
    track: Track,
    position: u64,
}

impl Left {
    /// These messages are settled. Where the consumer was, when that has changed; and whether it
    /// holds no more.
    pub(super) fn release(&mut self, range: SeqRange) -> (Option<(Box<str>, u64)>, bool) {
        let handled = self.track.release(range, self.position);
        (handled, self.track.outstanding.is_empty())
    }
}

impl Track {
    fn release(&mut self, range: SeqRange, position: u64) -> Option<(Box<str>, u64)> {
        self.outstanding.take(range, |_, ()| ());
        let handled = self.outstanding.first().map_or(position, |(first, ())| first.first);
        if handled <= self.told {
            return None;
        }
        self.told = handled;
        Some((self.name.clone(), handled))
    }
}

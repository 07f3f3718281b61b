//! Messages that have died and are still in their queue, where they stay until they are elsewhere.
//!
//! They stand in line in the order in which they died, whether their bytes are in memory or on
//! disk, and are sent from the front, a bounded batch at a time:
//! [`Queue::next_letters`] shows it, the broker routes it, [`Queue::letters_sent`] settles it.
//! Whoever does that holds [`Queue::turn`], so that two never send at the same time, and an atomic
//! batch of the log, so that a message leaves its queue in the commit in which it enters others.
//!
//! What has nowhere to go is **parked**: it stays in its queue until an operator moves it. Where
//! the settings say so ([`Settings::retries`]) it is tried again, in order, when a route appears,
//! when there is room, and every few seconds: see `retry`. Delayed messages whose time has come go
//! the same way.
//!
//! On disk a message that is parked has a row of `returns` with a [`Mark`]; one that stands in line
//! has none as a rule, and one if its death was part of a transaction, or the broker stopped. So
//! after a power cut it is an ordinary message again: what had expired or was too many dies again,
//! at the start; what was rejected, or was at its delivery limit, is delivered again.

mod dropped;
pub(in crate::queue::classic) mod parked;
mod retry;
mod told;
mod waiting;

pub use self::dropped::Dropped;
use self::parked::ParkedRun;
use self::retry::Retry;
use self::told::Told;
pub(crate) use self::waiting::{Destination, Waiting};
use super::{Core, RecordPlace, records};
use crate::arguments::Settings;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::ranges::RangeMap;
use crate::store::change::{Change, Page};
use crate::store::mark::Mark;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Messages of a batch at most. So long, and as long as its targets take, others wait who send from
/// the same queue.
const LETTERS_MAX: u64 = 256;

/// Bytes of the records of a batch at most, but for one message.
const LETTER_BYTES_MAX: usize = 1 << 20;

/// Bytes of messages that a queue refused and that stand in line for its dead-letter exchange. They
/// are in memory alone, and their publishers know that they were refused: what is more is dropped.
const REFUSED_BYTES_MAX: usize = 16 << 20;

/// Deaths of neighbours that are no further apart are one entry.
const SAME_ENTRY_MS: u64 = 1000;

/// Why a message leaves its queue for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeathReason {
    /// A consumer rejected it without requeue.
    Rejected,
    /// It was returned more often than the queue's delivery limit allows.
    DeliveryLimit,
    /// Its time was up.
    Expired,
    /// Its queue was full.
    MaxLen,
    /// It was delayed, and its time has come: no death, but it leaves in the same way.
    Delayed,
}

impl DeathReason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Rejected, Self::DeliveryLimit, Self::Expired, Self::MaxLen, Self::Delayed];

    /// As the `x-death` header writes it (RabbitMQ: dlx.md).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::Delayed => "delayed",
        }
    }
}

/// Why a dead letter has nowhere to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its queue has no dead-letter exchange.
    NoExchange,
    /// That exchange does not exist.
    ExchangeMissing,
    /// No queue is bound for it.
    NoRoute,
    /// A queue refused it: it is full.
    Refused,
}

impl Cause {
    const ALL: [Self; 4] = [Self::NoExchange, Self::ExchangeMissing, Self::NoRoute, Self::Refused];

    /// As lists and metrics write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoExchange => "no_exchange",
            Self::ExchangeMissing => "exchange_missing",
            Self::NoRoute => "no_route",
            Self::Refused => "refused",
        }
    }
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is where it should be, or was in a cycle.
    Gone,
    /// It has nowhere to go.
    Stuck(Cause),
}

/// How much may be parked in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParkedMax {
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of their records.
    pub(crate) bytes: u64,
}

/// Consecutive messages that died alike. None, if
/// `range` is empty: then it stands for the first of `Letters::refused`.
#[derive(Debug, Clone, Copy)]
struct Entry {
    range: SeqRange,
    reason: DeathReason,
    /// Why it is parked, or was when it was last tried.
    cause: Option<Cause>,
    /// The disk knows that it has died.
    marked: bool,
    /// Its place in the order of deaths.
    place: u64,
    /// Of the records, if it is parked.
    bytes: u64,
}

impl Entry {
    /// Whether `next` may be a part of this entry.
    fn joins(&self, next: &Self) -> bool {
        let apart_ms = Mark::ms_of(next.place).saturating_sub(Mark::ms_of(self.place));
        self.range.end == next.range.first
            && !next.range.is_empty()
            && (self.reason, self.cause, self.marked) == (next.reason, next.cause, next.marked)
            && apart_ms < SAME_ENTRY_MS
    }

    fn death(&self) -> Death {
        Death { reason: self.reason, cause: self.cause, at_s: Mark::ms_of(self.place) / 1000 }
    }

    fn mark(&self) -> Mark {
        let code = |at: Option<usize>| u8::try_from(at.unwrap_or_default()).unwrap_or_default();
        Mark {
            parked: self.cause.is_some(),
            reason: code(DeathReason::ALL.iter().position(|&reason| reason == self.reason)),
            cause: code(self.cause.and_then(|cause| Cause::ALL.iter().position(|&of| of == cause))),
            place: self.place,
        }
    }
}

/// The messages of a queue that have died and are still in it, in the order of their deaths.
#[derive(Debug, Default)]
pub(in crate::queue::classic) struct Letters {
    /// Those that are to be sent, the next one first.
    line: VecDeque<Entry>,
    /// Those that have nowhere to go, in the order of their deaths.
    parked: VecDeque<Entry>,
    /// What the queue refused, in the order of their entries in `line`.
    refused: VecDeque<(Arc<Block>, Range<u32>)>,
    refused_bytes: usize,
    /// Messages of the queue that stand in line, or are being sent, and were not parked before.
    leaving: u64,
    /// Parked messages; those that are tried again are among them until they are gone.
    held: u64,
    held_bytes: u64,
    retry: Retry,
    /// Pages that were read for those in front, by the number of the first record.
    pages: Vec<(u64, Arc<Block>)>,
    /// All of these that are in the queue, by their numbers.
    dead: RangeMap<Death>,
    /// The last place that was given.
    place: u64,
    /// Somebody is going to send.
    claimed: bool,
    /// A batch was taken out, which is in neither `line` nor `parked` until it is settled.
    batch_is_out: bool,
    /// Some have died since anybody was told.
    grown: bool,
    told: Told,
}

/// How a message died that is still in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue::classic) struct Death {
    pub(in crate::queue::classic) reason: DeathReason,
    /// Why it is parked, if it is.
    pub(in crate::queue::classic) cause: Option<Cause>,
    /// The second in which it died, so that neighbours are one entry of a map.
    pub(in crate::queue::classic) at_s: u64,
}

/// A run of letters that died alike, and what became of each.
#[derive(Debug)]
pub(crate) struct LetterRun {
    /// Where they are.
    pub(crate) block: Arc<Block>,
    /// Which records.
    pub(crate) records: Range<u32>,
    entry: Entry,
    /// How many in a row came to the same.
    outcomes: Vec<(u32, Outcome)>,
}

impl LetterRun {
    /// Why they died.
    pub(crate) fn reason(&self) -> DeathReason {
        self.entry.reason
    }

    /// When they died, milliseconds since 1970.
    pub(crate) fn died_ms(&self) -> u64 {
        Mark::ms_of(self.entry.place)
    }

    /// Whether they are tried for the first time.
    pub(crate) fn is_new(&self) -> bool {
        self.entry.cause.is_none()
    }

    /// This became of the next one.
    pub(crate) fn note(&mut self, outcome: Outcome) {
        match self.outcomes.last_mut() {
            Some((count, last)) if *last == outcome => *count += 1,
            _ => self.outcomes.push((1, outcome)),
        }
    }
}

/// What is sent at a time.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What is in effect.
    pub(crate) settings: Arc<Settings>,
    /// In the order in which they are to be sent.
    pub(crate) parts: Vec<LetterRun>,
    /// Whom they wait behind.
    pub(crate) waiting: Waiting,
    /// They are those that are parked in front.
    of_front: bool,
    /// How often the routes of the vhost had changed when it was taken.
    pub(in crate::queue::classic) routes: u64,
}

/// What a batch came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LetterTally {
    /// Messages that are parked now and were not.
    pub(crate) parked: u64,
    /// Messages that were dropped because they are not to be kept, as the settings say.
    pub(crate) dropped: u64,
    /// Messages that were dropped because as many are parked as may be.
    pub(crate) dropped_at_limit: u64,
}

impl Letters {
    /// Messages that are parked, and the bytes of their records.
    pub(in crate::queue::classic) fn held(&self) -> (u64, u64) {
        (self.held, self.held_bytes)
    }

    /// A place for what dies now.
    fn next_place(&mut self, unix_ms: u64) -> u64 {
        self.place = Mark::place_at(unix_ms).max(self.place + 1);
        self.place
    }

    fn push(&mut self, entry: Entry) {
        self.grown = true;
        push(&mut self.line, entry);
    }

    /// The record of this number in the pages that were read.
    fn read(&self, seq: u64) -> Option<(&Arc<Block>, u64)> {
        let holds = |(first, block): &&(u64, Arc<Block>)| {
            seq.checked_sub(*first).is_some_and(|index| index < u64::from(block.len()))
        };
        self.pages.iter().find(holds).map(|(first, block)| (block, *first))
    }

    /// Takes these out, which are missing on disk.
    fn lose(&mut self, range: SeqRange) {
        self.dead.take(range, |_, _| ());
        for entries in [&mut self.line, &mut self.parked] {
            let mut left = VecDeque::with_capacity(entries.len());
            for entry in entries.drain(..) {
                let lost = entry.range.meet(range);
                if lost.is_empty() {
                    left.push_back(entry);
                    continue;
                }
                let bytes = entry.bytes * lost.len() / entry.range.len();
                if entry.cause.is_some() {
                    self.held -= lost.len();
                    self.held_bytes -= bytes;
                } else {
                    self.leaving -= lost.len();
                }
                let mut share = entry.bytes - bytes;
                let ends = [
                    SeqRange { first: entry.range.first, end: lost.first },
                    SeqRange { first: lost.end, end: entry.range.end },
                ];
                for range in ends.into_iter().filter(|range| !range.is_empty()) {
                    left.push_back(Entry { range, bytes: std::mem::take(&mut share), ..entry });
                }
            }
            *entries = left;
        }
    }
}

/// Appends an entry, to the last one if they are alike.
fn push(entries: &mut VecDeque<Entry>, entry: Entry) {
    match entries.back_mut() {
        Some(last) if last.joins(&entry) => {
            last.range.end = entry.range.end;
            last.bytes += entry.bytes;
        }
        _ => entries.push_back(entry),
    }
}

/// Puts an entry where it belongs in the order of deaths, which is the end unless what died later
/// was parked meanwhile.
fn park(parked: &mut VecDeque<Entry>, entry: Entry) {
    let key = |entry: &Entry| (entry.place, entry.range.first);
    if parked.back().is_none_or(|last| key(last) < key(&entry)) {
        return push(parked, entry);
    }
    let at = parked.partition_point(|other| key(other) < key(&entry));
    match at.checked_sub(1).and_then(|before| parked.get_mut(before)) {
        Some(before) if before.joins(&entry) => {
            before.range.end = entry.range.end;
            before.bytes += entry.bytes;
        }
        _ => parked.insert(at, entry),
    }
}

/// The first of `records` that make `count` messages at most and `bytes` at most: how many, and
/// their bytes.
fn fitting(block: &Block, records: Range<u32>, count: u64, bytes: usize) -> (u32, usize) {
    let (mut fit, mut sum) = (0, 0);
    for index in records {
        let size = block.bytes_of(index..index + 1);
        if u64::from(fit) >= count || sum + size > bytes {
            break;
        }
        (fit, sum) = (fit + 1, sum + size);
    }
    (fit, sum)
}

impl Core {
    /// Ends messages that nobody can be dealt: they leave the queue at once, or stand in line to be
    /// sent if it `keeps` them.
    pub(in crate::queue::classic) fn die(
        &mut self,
        range: SeqRange,
        reason: DeathReason,
        keeps: bool,
        now_unix_ms: u64,
    ) {
        if !keeps {
            let dropped = self.remove(range);
            self.dropped.add(reason, dropped);
            return;
        }
        let letters = self.letters.get_or_insert_default();
        let place = letters.next_place(now_unix_ms);
        self.live.within(range, |piece, _| {
            letters.leaving += piece.len();
            let entry = Entry { range: piece, reason, cause: None, marked: false, place, bytes: 0 };
            letters.dead.insert(piece, entry.death());
            letters.push(entry);
        });
    }

    /// The queue has refused these records, which are to be sent all the same.
    pub(in crate::queue::classic) fn refuse(
        &mut self,
        block: &Arc<Block>,
        records: Range<u32>,
        now_unix_ms: u64,
    ) {
        let letters = self.letters.get_or_insert_default();
        let bytes = block.bytes_of(records.clone());
        if letters.refused_bytes + bytes > REFUSED_BYTES_MAX {
            letters.told.dropped += u64::from(records.end - records.start);
            return;
        }
        letters.refused_bytes += bytes;
        letters.refused.push_back((Arc::clone(block), records));
        let (range, place) = (SeqRange::default(), letters.next_place(now_unix_ms));
        let reason = DeathReason::MaxLen;
        letters.push(Entry { range, reason, cause: None, marked: false, place, bytes: 0 });
    }

    /// Messages that are in the queue and neither ready, nor waiting for their time, nor with a
    /// consumer.
    pub(in crate::queue::classic) fn dead(&self) -> u64 {
        self.letters.as_ref().map_or(0, |letters| letters.leaving + letters.held)
    }

    /// The messages in front of the line, if they are on disk alone and no page of them is here.
    pub(in crate::queue::classic) fn unread_letters(&self) -> Option<SeqRange> {
        let letters = self.letters.as_ref()?;
        let front = letters.source().front()?.range;
        match self.live.at(front.first) {
            Some((piece, RecordPlace::Disk)) if !front.is_empty() && letters.read(front.first).is_none() => {
                Some(front.meet(piece))
            }
            _ => None,
        }
    }

    /// Whether somebody is to send what is in front of the line, and nobody has been told.
    pub(in crate::queue::classic) fn calls_for_sender(&mut self) -> bool {
        let unread = self.unread_letters().is_some();
        let Some(letters) = &mut self.letters else { return false };
        if letters.source().is_empty() || unread {
            return false;
        }
        std::mem::take(&mut letters.grown) || !letters.claimed
    }

    /// Takes in pages that were asked for because of the messages in front; how many were not there
    /// that should have been. None if others are in front now.
    pub(in crate::queue::classic) fn read_letters(
        &mut self,
        wanted: SeqRange,
        pages: &[Page],
    ) -> Option<u64> {
        self.unread_letters().filter(|unread| unread.first == wanted.first)?;
        let letters = self.letters.get_or_insert_default();
        letters.pages = pages.iter().map(|page| (page.first, Arc::new(page.block.clone()))).collect();
        if letters.read(wanted.first).is_some() {
            return Some(0);
        }
        let next = pages.iter().map(|page| page.first).find(|&first| first > wanted.first);
        Some(self.lose(SeqRange { end: next.unwrap_or(wanted.end).min(wanted.end), ..wanted }))
    }

    /// These are missing on disk.
    pub(super) fn lose_letters(&mut self, range: SeqRange) {
        if let Some(letters) = &mut self.letters {
            letters.lose(range);
        }
    }

    /// A message that was dead when the broker stopped.
    pub(super) fn recover_letter(&mut self, seq: u64, mark: Mark, bytes: u32) {
        let letters = self.letters.get_or_insert_default();
        let known = |code: u8| usize::from(code);
        let reason = DeathReason::ALL.get(known(mark.reason)).copied().unwrap_or(DeathReason::Rejected);
        let cause = mark.parked.then(|| Cause::ALL.get(known(mark.cause)).copied());
        let cause = cause.map(|cause| cause.unwrap_or(Cause::NoRoute));
        let bytes = if mark.parked { u64::from(bytes) } else { 0 };
        let entry =
            Entry { range: SeqRange::of(seq, 1), reason, cause, marked: true, place: mark.place, bytes };
        letters.dead.insert(entry.range, entry.death());
        if mark.parked {
            (letters.held, letters.held_bytes) = (letters.held + 1, letters.held_bytes + bytes);
            letters.parked.push_back(entry);
            letters.retry.doubt();
        } else {
            letters.leaving += 1;
            letters.line.push_back(entry);
        }
        letters.place = letters.place.max(mark.place);
    }

    /// All were recovered: puts them in the order in which they died.
    pub(super) fn order_letters(&mut self) {
        let Some(letters) = &mut self.letters else { return };
        for entries in [&mut letters.line, &mut letters.parked] {
            entries.make_contiguous().sort_unstable_by_key(|entry| (entry.place, entry.range.first));
            let ordered = std::mem::take(entries);
            ordered.into_iter().for_each(|entry| push(entries, entry));
        }
    }

    /// Has the disk know of those in line that they have died, but for those that it would find
    /// dead again.
    pub(in crate::queue::classic) fn mark_letters(&mut self) {
        let Some(letters) = &mut self.letters else { return };
        let queue = self.queue;
        for entry in letters.line.iter_mut().rev() {
            if entry.marked || entry.reason == DeathReason::Delayed {
                continue;
            }
            entry.marked = true;
            let due_ms = entry.mark().encode();
            self.live.within(entry.range, |piece, place| {
                if is_logged(place) {
                    let mark = |seq| Change::Requeue { queue, seq, deliveries: 0, due_ms };
                    self.changes.extend((piece.first..piece.end).map(mark));
                }
            });
        }
    }

    /// Takes the next batch out of the line; its messages stay in the queue.
    fn next_parts(
        &mut self,
        from: impl Fn(&mut Letters) -> &mut VecDeque<Entry>,
        most: u64,
    ) -> Vec<LetterRun> {
        let (mut count, mut bytes, mut parts) = (most.min(LETTERS_MAX), LETTER_BYTES_MAX, Vec::new());
        while count > 0 {
            let Some(letters) = self.letters.as_deref_mut() else { break };
            let Some(front) = from(letters).front().copied() else { break };
            let found = if front.range.is_empty() {
                letters.refused.front().cloned()
            } else {
                find(self.live.at(front.range.first), letters, front.range)
            };
            let Some((block, records)) = found else {
                if front.range.is_empty() || self.live.at(front.range.first).is_some() {
                    break;
                }
                // It is not in the queue any more, which nobody but this file should do to it.
                letters.lose(SeqRange::of(front.range.first, 1));
                continue;
            };
            let most = if parts.is_empty() {
                bytes.max(block.bytes_of(records.start..records.start + 1))
            } else {
                bytes
            };
            let (fit, size) = fitting(&block, records.clone(), count, most);
            if fit == 0 {
                break;
            }
            (count, bytes) = (count - u64::from(fit), bytes.saturating_sub(size));
            let records = records.start..records.start + fit;
            let entry = letters.take_front(&front, fit, size as u64, &from);
            parts.push(LetterRun { block, records, entry, outcomes: Vec::new() });
        }
        parts
    }

    /// These letters are gone, and with them `bytes` of records.
    fn letters_gone(&mut self, entry: &Entry, range: SeqRange, bytes: u64) {
        if let Some(letters) = &mut self.letters {
            letters.discount(entry, range.len(), bytes);
            letters.dead.take(range, |_, _| ());
        }
        self.remove(range);
    }

    /// Parks these letters.
    fn park(&mut self, part: &LetterRun, range: SeqRange, records: Range<u32>, cause: Cause) {
        if range.is_empty() {
            return;
        }
        let bytes = part.block.bytes_of(records.clone()) as u64;
        let Some(letters) = &mut self.letters else { return };
        letters.discount(&part.entry, range.len(), bytes);
        (letters.held, letters.held_bytes) = (letters.held + range.len(), letters.held_bytes + bytes);
        let known = part.entry.marked && part.entry.cause == Some(cause);
        let entry = Entry { range, cause: Some(cause), marked: true, bytes, ..part.entry };
        letters.dead.take(range, |_, _| ());
        letters.dead.insert(range, entry.death());
        park(&mut letters.parked, entry);
        if known {
            return;
        }
        let (queue, due_ms, first) = (self.queue, entry.mark().encode(), range.first);
        self.live.within(range, |piece, place| {
            if is_logged(place) {
                for seq in piece.first..piece.end {
                    let index = records.start + u32::try_from(seq - first).unwrap_or_default();
                    let size = part.block.bytes_of(index..index + 1);
                    let deliveries = u32::try_from(size).unwrap_or(u32::MAX);
                    self.changes.push(Change::Requeue { queue, seq, deliveries, due_ms });
                }
            }
        });
    }
}

pub(super) fn is_logged(place: &RecordPlace) -> bool {
    matches!(place, RecordPlace::Disk | RecordPlace::Memory { logged: true, .. })
}

/// Where the first messages of `range` are that lie together, if they can be read.
fn find(
    at: Option<(SeqRange, &RecordPlace)>,
    letters: &Letters,
    range: SeqRange,
) -> Option<(Arc<Block>, Range<u32>)> {
    let (piece, place) = at?;
    let range = range.meet(piece);
    match place {
        RecordPlace::Memory { block, base, .. } => Some((Arc::clone(block), records(block, *base, range))),
        RecordPlace::Disk => {
            letters.read(range.first).map(|(block, first)| (Arc::clone(block), records(block, first, range)))
        }
    }
}

impl Letters {
    /// Takes the first `count` messages of `front`, which take `bytes`, off their entry, which is
    /// the first.
    fn take_front(
        &mut self,
        front: &Entry,
        count: u32,
        bytes: u64,
        from: impl Fn(&mut Self) -> &mut VecDeque<Entry>,
    ) -> Entry {
        if front.range.is_empty() {
            self.refused_bytes =
                self.refused_bytes.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
            let is_all = self.refused.front_mut().is_none_or(|(_, records)| {
                records.start += count;
                records.start >= records.end
            });
            if is_all {
                self.refused.pop_front();
                from(self).pop_front();
            }
            return *front;
        }
        let range = SeqRange::of(front.range.first, count.into());
        let rest = SeqRange { first: range.end, end: front.range.end };
        if rest.is_empty() {
            from(self).pop_front();
        } else if let Some(first) = from(self).front_mut() {
            (first.range, first.bytes) = (rest, first.bytes.saturating_sub(bytes));
        }
        Entry { range, bytes, ..*front }
    }

    /// Puts back in front what was not sent of a part: nothing came of those after the last
    /// outcome.
    fn return_unsent(&mut self, part: &LetterRun, is_of_front: bool) {
        let sent: u32 = part.outcomes.iter().map(|(count, _)| count).sum();
        let records = part.records.start + sent..part.records.end;
        if records.start >= records.end {
            return;
        }
        let bytes = part.block.bytes_of(records.clone());
        let mut entry = Entry { bytes: bytes as u64, ..part.entry };
        if part.entry.range.is_empty() {
            entry.bytes = 0;
            self.refused_bytes += bytes;
            self.refused.push_front((Arc::clone(&part.block), records));
        } else {
            entry.range.first += u64::from(sent);
        }
        if entry.cause.is_none() {
            entry.bytes = 0;
        }
        if is_of_front {
            park(&mut self.parked, entry);
        } else {
            self.line.push_front(entry);
        }
    }

    /// So many messages of an entry, with so many bytes, are not what they were.
    fn discount(&mut self, entry: &Entry, count: u64, bytes: u64) {
        if entry.cause.is_some() {
            self.held = self.held.saturating_sub(count);
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
        } else {
            self.leaving = self.leaving.saturating_sub(count);
        }
    }

    /// How many of `records` may be parked beside what is.
    fn room(&self, entry: &Entry, block: &Block, records: Range<u32>, most: ParkedMax) -> u32 {
        if entry.cause.is_some() {
            return records.end - records.start;
        }
        let bytes = usize::try_from(most.bytes.saturating_sub(self.held_bytes)).unwrap_or(usize::MAX);
        fitting(block, records, most.messages.saturating_sub(self.held), bytes).0
    }
}

impl Letters {
    /// Whether letters stand in line.
    pub(in crate::queue::classic) fn is_due(&self) -> bool {
        !self.line.is_empty()
    }

    /// Somebody is going to send what stands in line; whether nobody was before.
    pub(in crate::queue::classic) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.claimed, true)
    }
}

impl Core {
    /// Takes the next letters out of the line, when the vhost's routes have changed so often. They
    /// stay in the queue until [`Core::settle_letters`].
    pub(in crate::queue::classic) fn next_letters(
        &mut self,
        settings: &Arc<Settings>,
        routes: u64,
    ) -> Option<Batch> {
        let (of_front, waiting) = self.letters.as_deref_mut()?.next_try(settings);
        let parts = if of_front {
            self.next_parts(|letters| &mut letters.parked, LETTERS_MAX)
        } else {
            self.next_parts(|letters| &mut letters.line, LETTERS_MAX)
        };
        let letters = self.letters.as_deref_mut()?;
        if parts.is_empty() {
            letters.claimed = false;
            if letters.source().is_empty() {
                letters.pages = Vec::new();
            }
            return None;
        }
        letters.batch_is_out = true;
        Some(Batch { settings: Arc::clone(settings), parts, waiting, of_front, routes })
    }

    /// Takes out the first parked messages, `most` at most.
    pub(in crate::queue::classic) fn next_parked(
        &mut self,
        settings: &Arc<Settings>,
        (most, routes): (u64, u64),
    ) -> Option<Batch> {
        self.letters.as_deref_mut()?.stop_retry();
        let parts = self.next_parts(|letters| &mut letters.parked, most);
        self.letters.as_deref_mut()?.batch_is_out = !parts.is_empty();
        let (settings, waiting) = (Arc::clone(settings), Waiting::default());
        (!parts.is_empty()).then_some(Batch { settings, parts, waiting, of_front: false, routes })
    }

    /// The parked messages after the first `skipped`.
    pub(in crate::queue::classic) fn parked_run(&self, skipped: u64) -> Option<ParkedRun> {
        self.letters.as_ref()?.parked_run(&self.live, skipped)
    }

    /// The first parked messages, if they are on disk and no page of them was shown. What is tried
    /// again is among them.
    pub(in crate::queue::classic) fn unread_parked(&mut self) -> Option<SeqRange> {
        let letters = self.letters.as_deref_mut()?;
        letters.stop_retry();
        letters.unread_parked(&self.live)
    }

    /// Drops the first `entries` entries of parked messages; how many messages. None if none has
    /// died.
    pub(in crate::queue::classic) fn drop_parked(&mut self, entries: usize) -> Option<u64> {
        let mut dropped = 0;
        self.letters.as_deref_mut()?.stop_retry();
        for _ in 0..entries {
            let Some(entry) = self.letters.as_deref_mut()?.parked.pop_front() else { break };
            dropped += entry.range.len();
            self.letters_gone(&entry, entry.range, entry.bytes);
        }
        Some(dropped)
    }

    /// Takes in what became of a batch: those that are elsewhere are gone, and the others are
    /// parked as far as they may be.
    pub(in crate::queue::classic) fn settle_letters(
        &mut self,
        settings: &Settings,
        batch: Batch,
        most: ParkedMax,
    ) -> LetterTally {
        let mut tally = LetterTally::default();
        for part in &batch.parts {
            settle_part(self, settings, part, most, &mut tally);
        }
        if let Some(letters) = self.letters.as_deref_mut() {
            batch.parts.iter().rev().for_each(|part| letters.return_unsent(part, batch.of_front));
            letters.batch_is_out = false;
            letters.note_tried(batch);
        }
        tally
    }
}

/// Takes in what became of a part.
fn settle_part(
    core: &mut Core,
    settings: &Settings,
    part: &LetterRun,
    most: ParkedMax,
    tally: &mut LetterTally,
) {
    let (mut at, mut seq) = (part.records.start, part.entry.range.first);
    for &(count, outcome) in &part.outcomes {
        let records = at..at + count;
        at += count;
        if part.entry.range.is_empty() {
            let is_dropped = outcome != Outcome::Gone;
            tally.dropped += if is_dropped { count.into() } else { 0 };
            continue;
        }
        let range = SeqRange::of(seq, count.into());
        seq = range.end;
        let bytes = |records: Range<u32>| part.block.bytes_of(records) as u64;
        let Outcome::Stuck(cause) = outcome else {
            core.letters_gone(&part.entry, range, bytes(records));
            continue;
        };
        // Keeping what a full queue drives out would break its limit.
        if !settings.parks() || part.entry.reason == DeathReason::MaxLen {
            tally.dropped += range.len();
            core.letters_gone(&part.entry, range, bytes(records));
            continue;
        }
        let Some(letters) = &core.letters else { return };
        let room = letters.room(&part.entry, &part.block, records.clone(), most);
        let (kept, middle) = (SeqRange::of(range.first, room.into()), records.start + room);
        if part.is_new() {
            tally.parked += kept.len();
        }
        core.park(part, kept, records.start..middle, cause);
        let beyond = SeqRange { first: kept.end, end: range.end };
        if !beyond.is_empty() {
            tally.dropped_at_limit += beyond.len();
            core.letters_gone(&part.entry, beyond, bytes(middle..records.end));
        }
    }
}

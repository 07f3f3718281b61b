//! What comes back to a queue: into its old place, at once or after a delay; or it dies when it
//! came back too often (`delivery_limit`). And what waits from the moment it comes: in a queue of
//! delayed messages, from which nobody consumes, every message stands in line to be sent (see
//! `letters`) when its time has come.
//!
//! A delay is durable: the store knows until when a message waits.

use super::bodies::bytes_in;
use super::letters::DeathReason;
use super::{Core, RecordPlace};
use crate::arguments::{Requeue, Retry, Settings};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::delayed::due_ms;
use crate::queue::ranges::RangeMap;
use crate::store::change::Change;
use std::collections::BTreeMap;

/// Messages whose time comes in one go at most: so long the queue's lock is held.
const DUE_MAX: usize = 4096;

/// Delayed messages that join the line in one go at most: so long the queue's lock is held.
const RELEASED_MAX: usize = 1024;

/// A message that was returned and may be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requeued {
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
}

/// What a queue does with messages that come back or die.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue::classic) struct RequeuePolicy<'a> {
    /// Whether the queue keeps what is beyond the limit, to be sent or parked.
    keeps: bool,
    /// Failed deliveries that a message survives.
    limit: Option<u32>,
    /// How long a message waits before it is delivered again.
    retry: &'a Retry,
    /// Milliseconds since 1970.
    now_unix_ms: u64,
}

impl<'a> RequeuePolicy<'a> {
    /// Under these settings.
    pub(in crate::queue::classic) fn of(settings: &'a Settings, now: Now) -> Self {
        Self {
            keeps: settings.dead_letters() || settings.parks(),
            limit: settings.delivery_limit,
            retry: &settings.retry,
            now_unix_ms: now.unix_ms,
        }
    }
}

/// Messages that wait for their time, by the time and by their numbers.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// (Milliseconds since 1970, number) -> failed deliveries.
    due: BTreeMap<(u64, u64), u32>,
    /// Number -> milliseconds since 1970; 0 where each message says itself how long it waits, so
    /// that a million neighbours are one entry.
    times: RangeMap<u64>,
    /// Each message says itself how long it waits.
    by_message: bool,
}

impl Waiting {
    pub(super) fn len(&self) -> u64 {
        self.due.len() as u64
    }

    /// Of messages each of which says itself how long it waits.
    pub(super) fn by_message() -> Self {
        Self { by_message: true, ..Self::default() }
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.due.keys().map(|&(_, seq)| seq)
    }

    /// Their numbers, each with the time until which it waits; 0 where the message says that.
    pub(super) fn times(&self) -> &RangeMap<u64> {
        &self.times
    }

    /// How often the delivery of one has failed that waits until then.
    pub(super) fn deliveries(&self, due_ms: u64, seq: u64) -> u32 {
        self.due.get(&(due_ms, seq)).copied().unwrap_or_default()
    }

    /// The first `most` that wait until `after` or longer, in order: (time, number).
    pub(super) fn in_order(&self, after: (u64, u64), most: usize) -> Vec<(u64, u64)> {
        self.due.range(after..).take(most).map(|(&key, _)| key).collect()
    }

    /// Takes one out, wherever it stands; its time and its failed deliveries. `own_ms` is until
    /// when it waits as it says itself.
    pub(super) fn take(&mut self, seq: u64, own_ms: u64) -> Option<(u64, u32)> {
        let (_, &told_ms) = self.times.at(seq)?;
        let due_ms = if self.by_message { own_ms } else { told_ms };
        let deliveries = self.due.remove(&(due_ms, seq))?;
        self.times.take(SeqRange::of(seq, 1), |_, _| ());
        Some((due_ms, deliveries))
    }

    /// When the first one's time comes.
    pub(super) fn first(&self) -> Option<u64> {
        self.due.first_key_value().map(|(&(due_ms, _), _)| due_ms)
    }

    pub(super) fn insert(&mut self, due_ms: u64, seq: u64, deliveries: u32) {
        self.due.insert((due_ms, seq), deliveries);
        self.times.insert(SeqRange::of(seq, 1), if self.by_message { 0 } else { due_ms });
    }

    /// The first one, if its time has come; it stays.
    pub(super) fn peek(&self, now_unix_ms: u64) -> Option<u64> {
        self.due.first_key_value().filter(|((due_ms, _), _)| *due_ms <= now_unix_ms).map(|(&(_, seq), _)| seq)
    }

    /// Takes out the first one, if its time has come: its number and its failed deliveries.
    pub(super) fn pop(&mut self, now_unix_ms: u64) -> Option<(u64, u32)> {
        self.peek(now_unix_ms)?;
        self.pop_first()
    }

    fn pop_first(&mut self) -> Option<(u64, u32)> {
        let ((_, seq), deliveries) = self.due.pop_first()?;
        self.times.take(SeqRange::of(seq, 1), |_, _| ());
        Some((seq, deliveries))
    }

    /// Takes out the first one, whenever its time comes; its number.
    pub(super) fn take_first(&mut self) -> Option<u64> {
        self.pop_first().map(|(seq, _)| seq)
    }

    /// Takes these out; their numbers.
    pub(super) fn lose(&mut self, range: SeqRange) -> Vec<u64> {
        let mut lost = Vec::new();
        self.times.take(range, |_, _| ());
        if !self.due.is_empty() {
            self.due.retain(|&(_, seq), _| {
                let is_lost = (range.first..range.end).contains(&seq);
                lost.extend(is_lost.then_some(seq));
                !is_lost
            });
        }
        lost
    }
}

impl Core {
    /// Puts delivered messages back in their old place. What was settled has failed once more, and
    /// dies beyond the limit.
    pub(in crate::queue::classic) fn put_back(
        &mut self,
        range: SeqRange,
        how: Requeue,
        policy: RequeuePolicy<'_>,
    ) {
        let counted = how.is_failure();
        let mut outstanding = Vec::new();
        self.live.within(range, |piece, place| {
            outstanding
                .push((piece, matches!(place, RecordPlace::Disk | RecordPlace::Memory { logged: true, .. })));
        });
        for (piece, logged) in outstanding {
            let mut counts = Vec::new();
            self.failed.take_with_gaps(piece, |part, count| counts.push((part, count)));
            for (part, before) in counts {
                let deliveries = before.unwrap_or(0) + u32::from(counted);
                if counted && policy.limit.is_some_and(|limit| deliveries > limit) {
                    self.die(part, DeathReason::DeliveryLimit, policy.keeps, policy.now_unix_ms);
                    continue;
                }
                let was_seen = how != Requeue::Unsent || before.is_some() || self.lanes.was_seen(part.first);
                let returned = Requeued { deliveries, redelivered: was_seen };
                self.come_back(part, returned, how, logged, policy);
            }
        }
    }

    fn come_back(
        &mut self,
        part: SeqRange,
        returned: Requeued,
        how: Requeue,
        logged: bool,
        policy: RequeuePolicy<'_>,
    ) {
        let (queue, deliveries) = (self.queue, returned.deliveries);
        self.bodies.put_back(bytes_in(self, part));
        if let Some(sizes) = &mut self.sizes {
            // What waits counts as if it were ready.
            sizes.put_back(part);
        }
        if policy.retry.is_none() || how == Requeue::Unsent {
            if logged && how.is_failure() {
                let due_ms = 0;
                let returns =
                    (part.first..part.end).map(|seq| Change::Requeue { queue, seq, deliveries, due_ms });
                self.changes.extend(returns);
            }
            self.returned.insert(part, returned);
            return;
        }
        for seq in part.first..part.end {
            let delay_ms = policy.retry.delay_ms(how, deliveries, seq);
            let due_ms = if delay_ms == 0 { 0 } else { policy.now_unix_ms.saturating_add(delay_ms) };
            if logged {
                self.changes.push(Change::Requeue { queue, seq, deliveries, due_ms });
            }
            if due_ms == 0 {
                self.returned.insert(SeqRange::of(seq, 1), returned);
            } else {
                self.waiting.insert(due_ms, seq, deliveries);
            }
        }
    }

    /// Messages that just came may have been delivered before, on their way through another queue:
    /// they stand where they would stand anyway, as if they had come back, and the store knows it.
    #[cold]
    pub(in crate::queue::classic) fn come_redelivered(&mut self, range: SeqRange, logged: bool) {
        self.pass_by(range);
        self.returned.insert(range, Requeued { deliveries: 0, redelivered: true });
        if logged {
            let (queue, deliveries, due_ms) = (self.queue, 0, 0);
            let returns =
                (range.first..range.end).map(|seq| Change::Requeue { queue, seq, deliveries, due_ms });
            self.changes.extend(returns);
        }
    }

    /// Brings back those whose time has come, so many in one go.
    pub(in crate::queue::classic) fn resume(&mut self, now_unix_ms: u64) {
        for _ in 0..DUE_MAX {
            let Some((seq, deliveries)) = self.waiting.pop(now_unix_ms) else { break };
            self.returned.insert(SeqRange::of(seq, 1), Requeued { deliveries, redelivered: true });
        }
    }

    /// Has messages that just came wait as long as they say.
    pub(in crate::queue::classic) fn hold(
        &mut self,
        range: SeqRange,
        block: &Block,
        first: u32,
        logged: bool,
    ) {
        self.lanes.advance(range.end);
        for (seq, index) in (range.first..range.end).zip(first..) {
            let due_ms = due_ms(&block.message(index));
            self.waiting.insert(due_ms, seq, 0);
            if logged {
                self.changes.push(Change::Requeue { queue: self.queue, seq, deliveries: 0, due_ms });
            }
        }
    }

    /// Sends what is due, in order of time; when more will be.
    pub(in crate::queue::classic) fn release_due(&mut self, now_unix_ms: u64) -> Option<u64> {
        for _ in 0..RELEASED_MAX {
            let Some((seq, _)) = self.waiting.pop(now_unix_ms) else { break };
            self.die(SeqRange::of(seq, 1), DeathReason::Delayed, true, now_unix_ms);
        }
        self.waiting.first()
    }
}

//! Messages whose time is up: they die at the head of the line, as in RabbitMQ (ttl.md).
//!
//! A message's deadline is the time of its arrival plus its own expiration or the queue's time to
//! live, whichever is shorter; both are in its record, so that a restart changes nothing. Only what
//! is next in line is looked at: a message that waits costs nothing.

use super::letters::DeathReason;
use super::{Core, Head, RecordPlace, records};
use crate::arguments::{QueueType, Settings};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::properties;
use crate::message::{Block, Message};

/// Messages that expire in one go at most: so long the queue's lock is held, and so many dead
/// letters are made at once.
const EXPIRED_MAX: u32 = 1024;

/// By what messages expire.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue::classic) struct ExpiryClock {
    /// The queue's `x-message-ttl`.
    ttl_ms: Option<u64>,
    /// Milliseconds since 1970.
    now_unix_ms: u64,
    /// Messages that just came do not expire before consumers who wait have been dealt what they
    /// take, whatever the clock says: one that may not wait at all goes to a consumer who does.
    new: SeqRange,
    /// Whether the first message of every lane may expire, not only the one that is next.
    each_lane: bool,
}

impl ExpiryClock {
    /// Under these settings; messages that are `new` do not expire.
    pub(in crate::queue::classic) fn of(settings: &Settings, now: Now, new: SeqRange) -> Self {
        // As RabbitMQ has it: a classic queue looks at what is next, a quorum queue at what is next
        // of each priority.
        let each_lane = settings.kind == QueueType::Quorum;
        Self { ttl_ms: settings.ttl_ms, now_unix_ms: now.unix_ms, new, each_lane }
    }

    /// Whether the message `index` of `block`, whose record 0 has the number `base`, has expired.
    fn has_passed(self, block: &Block, base: u64, index: u32) -> bool {
        let seq = base.wrapping_add(index.into());
        let is_new = (self.new.first..self.new.end).contains(&seq);
        !is_new && self.deadline(block, index).is_some_and(|at_ms| at_ms <= self.now_unix_ms)
    }

    fn deadline(self, block: &Block, index: u32) -> Option<u64> {
        deadline_ms(&block.message(index), self.ttl_ms)
    }
}

/// When a message expires in a queue with this time to live: milliseconds since 1970.
pub(crate) fn deadline_ms(message: &Message<'_>, ttl_ms: Option<u64>) -> Option<u64> {
    let own_ms = if message.expires { properties::expiration_ms(message.properties) } else { None };
    let ttl_ms = match (own_ms, ttl_ms) {
        (Some(own_ms), Some(ttl_ms)) => own_ms.min(ttl_ms),
        (own_ms, ttl_ms) => own_ms.or(ttl_ms)?,
    };
    Some(message.arrived_at_ms.saturating_add(ttl_ms))
}

/// What there is to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::queue::classic) struct NextExpiry {
    /// When the next message expires.
    pub(in crate::queue::classic) at_ms: Option<u64>,
    /// The next message is on disk, and nobody knows when it expires.
    pub(in crate::queue::classic) unread: Option<SeqRange>,
}

impl Core {
    /// Whether messages expire here.
    pub(in crate::queue::classic) fn may_expire(&self, ttl_ms: Option<u64>) -> bool {
        ttl_ms.is_some() || self.expires
    }

    /// Ends the messages at the head of the line whose time is up.
    pub(in crate::queue::classic) fn expire(&mut self, clock: ExpiryClock, dead_letters: bool) -> NextExpiry {
        let mut next = NextExpiry::default();
        if !self.may_expire(clock.ttl_ms) {
            return next;
        }
        let mut left = EXPIRED_MAX;
        match self.expire_head(Self::head, clock, dead_letters, &mut left) {
            Head::Ready(range) => next.at_ms = self.first_deadline(range, clock),
            Head::OnDisk(range) => next.unread = Some(range),
            Head::Empty => self.expires &= !self.live.is_empty(),
        }
        if clock.each_lane {
            for index in 0..self.lanes.len() {
                let head = |core: &Self| core.head_of_lane(index);
                // What is on disk is looked at when it is next in line.
                if let Head::Ready(range) = self.expire_head(head, clock, dead_letters, &mut left) {
                    next.at_ms = next.at_ms.into_iter().chain(self.first_deadline(range, clock)).min();
                }
            }
        }
        if left == 0 {
            next.at_ms = Some(clock.now_unix_ms);
        }
        next
    }

    /// Ends what `head` finds as long as its time is up; what it finds then.
    fn expire_head(
        &mut self,
        head: impl Fn(&Self) -> Head,
        clock: ExpiryClock,
        dead_letters: bool,
        left: &mut u32,
    ) -> Head {
        loop {
            let found = head(self);
            let Head::Ready(range) = found else { return found };
            let count = self.expired(range, clock).min(*left);
            if count == 0 {
                return found;
            }
            *left -= count;
            let gone = SeqRange::of(range.first, count.into());
            self.withdraw(gone);
            self.die(gone, DeathReason::Expired, dead_letters, clock.now_unix_ms);
        }
    }

    fn head_of_lane(&self, index: usize) -> Head {
        let Some(lane) = self.lanes.iter().nth(index) else { return Head::Empty };
        let returned = self.returned.from(lane.first).next().map(|(range, _)| range);
        let returned = returned.filter(|range| range.first < lane.tail);
        self.head_of(returned, Some(lane.fresh()).filter(|fresh| !fresh.is_empty()))
    }

    /// The first messages of `range`, which is ready, that have not expired.
    pub(in crate::queue::classic) fn fit_time(&self, range: SeqRange, clock: ExpiryClock) -> SeqRange {
        let Some((_, RecordPlace::Memory { block, base, .. })) = self.live.at(range.first) else {
            return range;
        };
        let count =
            records(block, *base, range).take_while(|&index| !clock.has_passed(block, *base, index)).count();
        SeqRange::of(range.first, count as u64)
    }

    /// How many of the first messages of `range`, which is ready, have expired.
    fn expired(&self, range: SeqRange, clock: ExpiryClock) -> u32 {
        let Some((_, RecordPlace::Memory { block, base, .. })) = self.live.at(range.first) else { return 0 };
        let records = records(block, *base, range);
        let passed = records.take_while(|&index| clock.has_passed(block, *base, index));
        u32::try_from(passed.count()).unwrap_or(u32::MAX)
    }

    fn first_deadline(&self, range: SeqRange, clock: ExpiryClock) -> Option<u64> {
        let Some((_, RecordPlace::Memory { block, base, .. })) = self.live.at(range.first) else {
            return None;
        };
        clock.deadline(block, records(block, *base, range).start)
    }
}

//! Messages by their numbers, for whoever looks at a queue or takes single messages out of it.
//!
//! Looking changes nothing: no message is taken, counted or moved. The queue's lock is held for a
//! window of numbers at a time, and says how each message stands and where its record is; what is
//! on disk alone is read without it.

use super::{Body, Effects, Queue};
use super::{Cause, DeathReason};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::message::Block;
use std::sync::Arc;

/// Numbers that are looked at under one lock, at most.
pub(crate) const WINDOW: u64 = 4096;

/// How a message stands in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// It waits for a consumer. Every message of a stream does.
    Ready,
    /// It was delivered and not settled.
    Unacknowledged,
    /// It waits for its time.
    Delayed {
        /// Milliseconds since 1970; 0 where the message itself says it.
        due_ms: u64,
    },
    /// It has died, or was delayed and its time has come, and it is not elsewhere yet.
    Dead {
        /// Why it leaves.
        reason: DeathReason,
        /// Why it is parked; none while it is on its way.
        cause: Option<Cause>,
    },
}

/// Consecutive messages that stand alike.
#[derive(Debug, Clone)]
pub(crate) struct LookedRun {
    /// Their numbers.
    pub(crate) range: SeqRange,
    /// How they stand.
    pub(crate) state: MessageState,
    /// How often their delivery failed.
    pub(crate) deliveries: u32,
    /// Whether they may have been delivered before.
    pub(crate) redelivered: bool,
    /// The block that holds them, and the number that its record 0 has or would have (wrapping);
    /// none of what is on disk alone.
    pub(crate) place: Option<(Arc<Block>, u64)>,
}

/// What a queue holds in a window of numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// The window; it ends where the next one begins.
    pub(crate) window: SeqRange,
    /// What is there, in ascending order.
    pub(crate) runs: Vec<LookedRun>,
}

/// A message, and what its record says that its queue does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its number.
    pub(crate) seq: u64,
    /// Bytes of its record.
    pub(crate) bytes: u64,
    /// Until when it waits as it says itself, milliseconds since 1970.
    pub(crate) own_due_ms: u64,
}

/// A message that was taken out of its place, and the way back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Withdrawn {
    pub(super) named: Named,
    pub(super) from: Origin,
}

/// Where a message stood.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// It was ready.
    Ready { deliveries: u32, redelivered: bool },
    /// It waited for its time.
    Delayed { due_ms: u64, deliveries: u32 },
    /// It still stands there: nobody else touches what is parked.
    Parked,
}

/// Why a message cannot be taken out of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It is not there, or not any more.
    Gone,
    /// A consumer has it and decides about it.
    Unacknowledged,
    /// It has died and is on its way to elsewhere.
    Leaving,
    /// It is ready already.
    Ready,
    /// It is in a stream, which nobody empties.
    Stream,
}

impl Queue {
    /// The window that begins at or after `at`, or with `back` ends at or before it; none if there
    /// is nothing.
    pub(crate) fn look(&self, at: u64, back: bool) -> Option<Look> {
        let body = &*self.lock();
        match body {
            Body::Classic(classic) => classic.look(at, back),
            Body::Stream(stream) => stream.look(at, back),
        }
    }

    /// The first `most` messages that wait until `after` (milliseconds since 1970, number) or
    /// longer, in order of time.
    pub(crate) fn delayed_from(&self, after: (u64, u64), most: usize) -> Vec<(u64, u64)> {
        self.of_classic(|classic| classic.delayed_from(after, most))
    }

    /// One past the highest number that was given, of each lane, in order.
    pub(crate) fn tails(&self) -> Vec<u64> {
        let body = &*self.lock();
        match body {
            Body::Classic(classic) => classic.tails(),
            Body::Stream(stream) => vec![stream.next()],
        }
    }

    /// The number at or before which everything arrived earlier than `ms`, milliseconds since 1970,
    /// if the queue knows without looking at messages: a stream does.
    pub(crate) fn since(&self, ms: u64) -> Option<u64> {
        let body = &*self.lock();
        match body {
            Body::Classic(_) => None,
            Body::Stream(stream) => Some(stream.since(ms)),
        }
    }

    /// Takes messages out of their places. They are in the queue, and nobody is dealt them, until
    /// [`Queue::return_withdrawn`]. Whoever calls it holds [`Queue::turn`].
    pub(crate) fn withdraw(&self, named: &[Named]) -> Vec<Result<Withdrawn, NotTaken>> {
        self.of_classic(|classic| classic.withdraw(named))
    }

    /// These are `gone` to elsewhere, or for good; those stand where they stood.
    pub(crate) fn return_withdrawn(&self, gone: &[Withdrawn], back: &[Withdrawn], now: Now) -> Effects {
        self.of_classic(|classic| classic.return_withdrawn(self, (gone, back), now))
    }

    /// Has a delayed message be ready now, or one that is parked for want of a route after its
    /// delay try again. None for one that is parked in a queue like others, which its broker has to
    /// move.
    ///
    /// # Errors
    /// It is not there, or not delayed or parked.
    pub(crate) fn bring_forward(&self, named: Named, now: Now) -> Result<Option<Effects>, NotTaken> {
        self.of_classic(|classic| Some(classic.bring_forward(self, named, now)))
            .unwrap_or(Err(NotTaken::Ready))
    }
}

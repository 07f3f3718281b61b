//! A queue in which delayed messages wait until they are routed; nobody consumes from it.
//!
//! Every message waits from the moment it comes, and stands in line to be sent (see `letters`) when
//! its time has come.

use super::Core;
use super::letters::DeathReason;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::queue::delayed::due_ms;
use crate::store::change::Change;

/// Messages that join the line in one go at most: so long the queue's lock is held.
const DUE_MAX: usize = 1024;

impl Core {
    /// Has messages that just came wait as long as they say.
    pub(in crate::queue) fn hold(&mut self, range: SeqRange, block: &Block, first: u32, logged: bool) {
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
    pub(in crate::queue) fn release_due(&mut self, now_unix_ms: u64) -> Option<u64> {
        for _ in 0..DUE_MAX {
            let Some((seq, _)) = self.waiting.pop(now_unix_ms) else { break };
            self.die(SeqRange::of(seq, 1), DeathReason::Delayed, true, now_unix_ms);
        }
        self.waiting.first()
    }
}

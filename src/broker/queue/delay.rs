//! A queue in which delayed messages wait until they are routed; nobody consumes from it.
//!
//! Every message waits from the moment it comes, and leaves in the order of time. What is due and only on disk is read one
//! page at a time, which is kept beside the log: neighbours in the page need not be due.

use super::core::{Core, Place};
use super::expiry::NextExpiry;
use crate::broker::delayed::delay_ms;
use crate::ids::SeqRange;
use crate::message::Block;
use crate::store::change::{Change, Page};
use std::sync::Arc;

/// Messages that leave in one go at most: so long the queue's lock is held.
const DUE_MAX: usize = 1024;

/// A message whose time has come.
#[derive(Debug, Clone)]
pub struct Due {
    /// Where it is.
    pub block: Arc<Block>,
    /// Which record.
    pub index: u32,
}

impl Core {
    /// Has messages that just came wait as long as they say.
    pub(super) fn hold(&mut self, range: SeqRange, block: &Block, first: u32, logged: bool) {
        self.lanes.advance(range.end);
        for (seq, index) in (range.first..range.end).zip(first..) {
            let message = block.message(index);
            let delay_ms = delay_ms(message.properties).unwrap_or_default();
            let due_ms = message.arrived_at_ms.saturating_add(delay_ms);
            self.waiting.insert(due_ms, seq, 0);
            if logged {
                self.changes.push(Change::Return { queue: self.queue, seq, deliveries: 0, due_ms });
            }
        }
    }

    /// Takes out what is due, in order of time; what there is to wait for then.
    pub(super) fn release_due(&mut self, now_unix_ms: u64) -> NextExpiry {
        for _ in 0..DUE_MAX {
            let Some(seq) = self.waiting.peek(now_unix_ms) else { break };
            let due = match self.live.at(seq) {
                Some((_, Place::Memory { block, base, .. })) => {
                    let index = u32::try_from(seq.wrapping_sub(*base)).unwrap_or(u32::MAX);
                    Some(Due { block: Arc::clone(block), index })
                }
                Some((_, Place::Disk)) => match self.read.iter().find_map(|page| due_in(page, seq)) {
                    Some(due) => Some(due),
                    None => return NextExpiry { at_ms: None, unread: Some(SeqRange::of(seq, 1)) },
                },
                None => None,
            };
            self.waiting.pop(now_unix_ms);
            self.due.extend(due);
            self.remove(SeqRange::of(seq, 1));
        }
        let at_ms = self.waiting.first();
        if at_ms.is_none_or(|at_ms| at_ms > now_unix_ms) {
            self.read = Vec::new();
        }
        NextExpiry { at_ms, unread: None }
    }

    /// Takes in the pages that were asked for; how many messages were not there that should have been.
    pub(super) fn keep_pages(&mut self, wanted: SeqRange, pages: Vec<Page>) -> u64 {
        let blocks = pages.into_iter().map(|page| (page.first, Arc::new(page.block)));
        self.read = blocks.collect();
        if self.read.iter().any(|page| due_in(page, wanted.first).is_some()) {
            return 0;
        }
        self.lose(wanted)
    }
}

/// The message of this number, if the page has it.
fn due_in((first, block): &(u64, Arc<Block>), seq: u64) -> Option<Due> {
    let index = u32::try_from(seq.checked_sub(*first)?).ok()?;
    (index < block.len()).then(|| Due { block: Arc::clone(block), index })
}

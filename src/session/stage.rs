//! What the current read published, in blocks by route, on its way to the queues.
//!
//! Messages for the same queues share a block whatever their routing keys are. Order per queue is kept because a
//! block takes no more messages once a younger block has one of its queues, and blocks are handed over in the order
//! they were opened.

use crate::broker::Broker;
use crate::broker::queue::Queue;
use crate::broker::route::Route;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::{Block, BlockBuilder, Message};
use std::sync::Arc;

/// So many of the newest blocks take further messages: looking through more costs more than it saves.
const OPEN_MAX: usize = 64;

/// Two routes with more queues than this are taken to overlap without looking.
const COMPARED_MAX: usize = 8;

/// Messages gathered by route, in the order in which the blocks were opened.
#[derive(Default)]
pub(super) struct Stage {
    blocks: Vec<Staged>,
    /// The block that took the last message.
    newest: usize,
    /// Bytes of all records.
    bytes: usize,
}

struct Staged {
    route: Arc<Route>,
    records: Records,
    /// Takes no more messages.
    shut: bool,
}

enum Records {
    Growing(BlockBuilder),
    Done(Block),
}

impl Stage {
    /// Appends a message to the open block of its route.
    #[inline]
    pub(super) fn push(&mut self, route: &Arc<Route>, message: &Message<'_>) {
        let len = message.record_len();
        self.bytes += len;
        if let Some(Staged { route: open, records: Records::Growing(builder), shut: false }) =
            self.blocks.get_mut(self.newest)
            && Arc::ptr_eq(open, route)
            && builder.has_room(len)
        {
            builder.push(message);
            return;
        }
        self.newest = self.find_or_open(route, len);
        if let Some(Staged { records: Records::Growing(builder), .. }) = self.blocks.get_mut(self.newest) {
            builder.push(message);
        }
    }

    /// Appends a block of its own.
    pub(super) fn push_block(&mut self, route: &Arc<Route>, block: Block) {
        self.bytes += block.bytes().len();
        self.open(route, Records::Done(block));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands every block to its queues; what is returned is durable when all of them are.
    pub(super) fn flush(&mut self, broker: &Broker, now: Now) -> Ticket {
        let newest = self.take().map(|(route, block)| broker.enqueue(&route, block, now)).max();
        newest.unwrap_or_default()
    }

    /// All blocks, in order; the stage is empty afterwards.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Arc<Route>, Block)> {
        self.newest = 0;
        self.bytes = 0;
        self.blocks.drain(..).map(|staged| match staged.records {
            Records::Growing(builder) => (staged.route, builder.build()),
            Records::Done(block) => (staged.route, block),
        })
    }

    fn find_or_open(&mut self, route: &Arc<Route>, len: usize) -> usize {
        let takes = |staged: &Staged| match &staged.records {
            Records::Growing(builder) => {
                !staged.shut && same_queues(&staged.route, route) && builder.has_room(len)
            }
            Records::Done(_) => false,
        };
        let window = self.blocks.len().saturating_sub(OPEN_MAX);
        match self.blocks[window..].iter().rposition(takes) {
            Some(index) => window + index,
            None => self.open(route, Records::Growing(BlockBuilder::default())),
        }
    }

    fn open(&mut self, route: &Arc<Route>, records: Records) -> usize {
        let window = self.blocks.len().saturating_sub(OPEN_MAX);
        for older in self.blocks[window..].iter_mut().filter(|older| !older.shut) {
            older.shut = overlap(&older.route, route);
        }
        let shut = matches!(records, Records::Done(_));
        self.blocks.push(Staged { route: Arc::clone(route), records, shut });
        self.blocks.len() - 1
    }
}

fn same_queues(one: &Arc<Route>, other: &Arc<Route>) -> bool {
    let same = |(a, b): (&Arc<Queue>, &Arc<Queue>)| Arc::ptr_eq(a, b);
    Arc::ptr_eq(one, other)
        || (one.queues.len() == other.queues.len() && one.queues.iter().zip(&other.queues).all(same))
}

/// Whether a queue may be in both.
fn overlap(one: &Route, other: &Route) -> bool {
    one.queues.len().max(other.queues.len()) > COMPARED_MAX
        || one.queues.iter().any(|queue| other.queues.iter().any(|also| Arc::ptr_eq(queue, also)))
}

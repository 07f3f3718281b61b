//! What the current read published, in blocks by route, on its way to the queues.
//!
//! Messages for the same queues share a block whatever their routing keys are. Order per queue is
//! kept because a block takes no more messages once a younger block has one of its queues, and
//! blocks are handed over in the order they were opened.

use super::budget;
use crate::broker::Broker;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::message::{Block, BlockBuilder, Message};
use crate::routing::route::Route;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// So many of the newest blocks take further messages: looking through more costs more than it
/// saves.
const OPEN_MAX: usize = 64;

/// About what a block takes in memory beside its records, in which many may have one: transactions
/// gather them.
const BLOCK_BYTES: usize = 256;

/// Two routes with more queues than this are taken to overlap without looking.
const COMPARED_MAX: usize = 8;

/// So many queues are compared in a step.
const COMPARED_STEP: usize = 512;

/// Messages gathered by route, in the order in which the blocks were opened.
#[derive(Default)]
pub(crate) struct PublishBatch {
    blocks: Vec<Staged>,
    /// The block that took the last message.
    newest: usize,
    /// Bytes of all records, and of the blocks they are in.
    bytes: usize,
    /// Steps that it takes to hand the blocks to their queues.
    cost: usize,
}

struct Staged {
    route: Arc<Route>,
    records: Records,
    /// Takes no more messages.
    shut: bool,
    /// How many records there are; counted only where a queue may refuse some.
    refusable: u32,
    /// Which publishes those are, in order.
    origins: Vec<Origin>,
}

enum Records {
    Growing(BlockBuilder),
    Done(Block),
}

/// Which publishes the records from `index` on are, up to the next one's.
#[derive(Debug, Clone, Copy)]
struct Origin {
    index: u32,
    publish: Publish,
}

/// A publish that may have to be answered with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) channel: u16,
    /// Its number in the channel's confirms; 0 when nobody waits for an answer.
    pub(crate) number: u64,
}

/// Publishes with consecutive numbers that a queue refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedPublish {
    pub(crate) channel: u16,
    pub(crate) numbers: RangeInclusive<u64>,
}

impl PublishBatch {
    /// Appends a message to the open block of its route.
    #[inline]
    pub(crate) fn push(&mut self, route: &Arc<Route>, message: &Message<'_>) {
        let len = message.record_len();
        self.bytes += len;
        if let Some(Staged { route: open, records: Records::Growing(builder), shut: false, .. }) =
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

    /// Appends a message that a queue may refuse; `block` is of this message alone, when there is
    /// one already.
    pub(crate) fn push_refusable(
        &mut self,
        route: &Arc<Route>,
        message: &Message<'_>,
        block: Option<Block>,
        publish: Publish,
    ) {
        match block {
            Some(block) => {
                self.push_block(route, block);
                self.newest = self.blocks.len() - 1;
            }
            None => self.push(route, message),
        }
        if let Some(Staged { refusable, origins, .. }) = self.blocks.get_mut(self.newest) {
            let index = *refusable;
            *refusable += 1;
            let goes_on = origins.last().is_some_and(|last| last.publish_at(index) == publish);
            if !goes_on {
                origins.push(Origin { index, publish });
            }
        }
    }

    /// Appends a block of its own.
    pub(crate) fn push_block(&mut self, route: &Arc<Route>, block: Block) {
        self.bytes += block.bytes().len();
        self.open(route, Records::Done(block));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> u64 {
        let len = |staged: &Staged| match &staged.records {
            Records::Growing(builder) => builder.len(),
            Records::Done(block) => block.len(),
        };
        self.blocks.iter().map(|staged| u64::from(len(staged))).sum()
    }

    /// Steps that it takes to hand everything over.
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands every block to its queues. The ticket is durable when all that they took is; what they
    /// did not is added to `refused`.
    pub(crate) fn flush(&mut self, broker: &Broker, now: Now, refused: &mut Vec<RefusedPublish>) -> Ticket {
        let (mut newest, mut routed) = (Ticket(0), 0);
        for (route, block, origins) in self.drain() {
            routed += route.reach(&block);
            let enqueued = broker.enqueue(&route, block, now);
            newest = newest.max(enqueued.ticket);
            for records in enqueued.refused {
                who_is_refused(&origins, records, refused);
            }
        }
        broker.metrics().routed.add(routed);
        newest
    }

    /// All blocks, in order; the stage is empty afterwards.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Arc<Route>, Block)> {
        self.drain().map(|(route, block, _)| (route, block))
    }

    fn drain(&mut self) -> impl Iterator<Item = (Arc<Route>, Block, Vec<Origin>)> {
        self.newest = 0;
        self.bytes = 0;
        self.cost = 0;
        self.blocks.drain(..).map(|staged| match staged.records {
            Records::Growing(builder) => (staged.route, builder.build(), staged.origins),
            Records::Done(block) => (staged.route, block, staged.origins),
        })
    }

    fn find_or_open(&mut self, route: &Arc<Route>, len: usize) -> usize {
        let takes = |staged: &Staged| match &staged.records {
            Records::Growing(builder) => !staged.shut && alike(&staged.route, route) && builder.has_room(len),
            Records::Done(_) => false,
        };
        // The queues of one block are compared with those of the route.
        self.cost += route.queues.len() / COMPARED_STEP;
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
        // To open one is a step as well.
        self.cost += 1 + budget::QUEUE * route.queues.len();
        let shut = matches!(records, Records::Done(_));
        self.bytes += BLOCK_BYTES;
        let route = Arc::clone(route);
        self.blocks.push(Staged { route, records, shut, refusable: 0, origins: Vec::new() });
        self.blocks.len() - 1
    }
}

impl Origin {
    /// The publish that record `index`, at or after the first of these, is if they go so far.
    fn publish_at(&self, index: u32) -> Publish {
        let Publish { channel, number } = self.publish;
        // What nobody waits for has no number, however many there are.
        let further = if number == 0 { 0 } else { index - self.index };
        Publish { channel, number: number + u64::from(further) }
    }
}

/// Adds the publishes that `records` are, and that somebody waits for, to `refused`.
fn who_is_refused(origins: &[Origin], records: Range<u32>, refused: &mut Vec<RefusedPublish>) {
    let first = origins.partition_point(|origin| origin.index <= records.start).saturating_sub(1);
    for (at, origin) in origins.iter().enumerate().skip(first) {
        let end = origins.get(at + 1).map_or(records.end, |next| next.index.min(records.end));
        let start = origin.index.max(records.start);
        if origin.index >= records.end {
            break;
        }
        if origin.publish.number > 0 && start < end {
            let (from, to) = (origin.publish_at(start), origin.publish_at(end - 1));
            refused.push(RefusedPublish { channel: from.channel, numbers: from.number..=to.number });
        }
    }
}

/// Whether the same happens to messages of both routes.
fn alike(one: &Arc<Route>, other: &Arc<Route>) -> bool {
    Arc::ptr_eq(one, other) || (one.has_queues_of(other) && one.is_sifted_as(other))
}

/// Whether a queue may be in both.
fn overlap(one: &Route, other: &Route) -> bool {
    one.queues.len().max(other.queues.len()) > COMPARED_MAX
        || one.queues.iter().any(|queue| other.queues.iter().any(|also| Arc::ptr_eq(queue, also)))
}

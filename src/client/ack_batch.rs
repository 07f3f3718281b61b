//! Acknowledgements on their way to the queues.

use super::budget;
use crate::blocking;
use crate::broker::{Broker, Settlement};
use crate::clock::Now;
use crate::queue::{Queue, Settled, count_of, in_portions};
use std::mem;
use std::sync::Arc;

/// So many of the newest groups are looked through for the one a message belongs to.
const GROUPS_OPEN: usize = 64;

/// So many messages are acknowledged under one lock of their queue at most: a few milliseconds if
/// each is in a block of its own.
const PORTION: u64 = 16 * 1024;

/// Settled messages of one queue that share their fate.
type Group = (Arc<Queue>, Settlement, Vec<Settled>);

/// What the current read settled, by queue.
#[derive(Debug, Default)]
pub(crate) struct AckBatch {
    groups: Vec<Group>,
    /// Steps that it takes to hand them over.
    cost: usize,
}

impl AckBatch {
    pub(crate) fn add(&mut self, queue: &Arc<Queue>, fate: Settlement, settled: Settled) {
        if fate != Settlement::Ack {
            // What comes back or dies is looked at one by one.
            self.cost += usize::try_from(settled.range.len()).unwrap_or(usize::MAX);
        }
        // The newest group first: a client acknowledges one queue many times in a row.
        let mut newest = self.groups.iter_mut().rev().take(GROUPS_OPEN);
        let group = newest.find(|group| Arc::ptr_eq(&group.0, queue) && group.1 == fate);
        let Some((_, _, parts)) = group else {
            self.cost += budget::QUEUE;
            self.groups.push((Arc::clone(queue), fate, vec![settled]));
            return;
        };
        match parts.last_mut() {
            Some(last) if last.consumer == settled.consumer && last.range.end == settled.range.first => {
                last.range.end = settled.range.end;
            }
            _ => {
                self.cost += 1;
                parts.push(settled);
            }
        }
    }

    /// Steps that it takes to hand everything over.
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Hands everything to the queues.
    pub(crate) fn flush(&mut self, broker: &Broker, now: Now) {
        let cost = mem::take(&mut self.cost);
        blocking::run_many(cost, || {
            for (queue, fate, settled) in self.groups.drain(..) {
                match fate {
                    Settlement::Ack => acknowledge(broker, &queue, &settled, now),
                    // Whole, so that nothing younger is dealt before all of it is back.
                    Settlement::Requeue(how) => broker.put_back(&queue, &settled, how, now),
                    Settlement::Reject => broker.reject(&queue, &settled, now),
                }
            }
        });
    }

    /// Everything, for a transaction.
    pub(crate) fn take(&mut self) -> Vec<Group> {
        self.cost = 0;
        mem::take(&mut self.groups)
    }
}

/// Tells a queue what was acknowledged, in portions, so that others do not wait long for its lock.
fn acknowledge(broker: &Broker, queue: &Arc<Queue>, settled: &[Settled], now: Now) {
    broker.metrics().acknowledged.add(count_of(settled));
    in_portions(settled, PORTION, |portion| broker.settle(queue, portion, now));
}

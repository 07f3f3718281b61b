//! Deliveries that wait for their acknowledgement, and acknowledgements on their way to the queues.
//!
//! A channel's outstanding deliveries are runs: consecutive tags of consecutive messages of one
//! queue. They are ordered by the tag that ends them, so that taking tags off the front of a run
//! changes nothing but its value.

use super::budget;
use super::connection_state::ConnectionState;
use crate::blocking;
use crate::broker::{Broker, Settlement};
use crate::clock::Now;
use crate::ids::{ConsumerId, SeqRange};
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::{Queue, Settled};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

/// So many of the newest groups are looked through for the one a message belongs to.
const GROUPS_OPEN: usize = 64;

/// So many messages are acknowledged under one lock of their queue at most: a few milliseconds if
/// each is in a block of its own.
const PORTION: u64 = 16 * 1024;

/// Deliveries with consecutive tags.
#[derive(Debug, Clone)]
pub(super) struct UnackedRun {
    pub(super) first_tag: u64,
    /// The message that has `first_tag`.
    pub(super) first_seq: u64,
    pub(super) queue: Arc<Queue>,
    /// None: fetched by `basic.get`.
    pub(super) consumer: Option<ConsumerId>,
    /// When it should be acknowledged, in monotonic milliseconds; `u64::MAX` for never, and for
    /// what is back in its queue.
    pub(super) due_ms: u64,
    /// Its consumer was cancelled because something else was overdue.
    pub(super) excused: bool,
    /// It was not acknowledged in time and is back in its queue; only its tags are kept.
    pub(super) back: bool,
}

/// A part of a run that is settled; borrowed from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) run: &'a UnackedRun,
    pub(super) first_tag: u64,
    pub(super) settled: Settled,
}

/// What one channel's client has to acknowledge.
#[derive(Debug)]
pub(super) struct Unacked {
    /// Keys are one past the last tag of the run.
    runs: BTreeMap<u64, UnackedRun>,
    /// No run is due before this.
    due_ms: u64,
}

impl Unacked {
    pub(super) fn new() -> Self {
        Self { runs: BTreeMap::new(), due_ms: u64::MAX }
    }

    /// How many deliveries are outstanding; what is back in its queue already is none.
    pub(super) fn count(&self) -> u64 {
        self.runs.iter().filter(|(_, run)| !run.back).map(|(end, run)| end - run.first_tag).sum()
    }

    /// How many runs there are; what `basic.get` fetches is one each.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// `count` deliveries from `run.first_tag` on are outstanding.
    pub(super) fn add(&mut self, run: UnackedRun, count: u64) {
        if count > 0 {
            self.due_ms = self.due_ms.min(run.due_ms);
            self.runs.insert(run.first_tag + count, run);
        }
    }

    /// Nothing is overdue before this; `u64::MAX` for never.
    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Shows every run that is overdue. Its tags stay, and stand for nothing.
    pub(super) fn take_overdue(&mut self, now_ms: u64, mut each: impl FnMut(&UnackedRun, Settled)) {
        self.due_ms = u64::MAX;
        for (&end, run) in &mut self.runs {
            if run.due_ms <= now_ms {
                each(run, run.part(run.first_tag, end).settled);
                (run.due_ms, run.back) = (u64::MAX, true);
            }
            self.due_ms = self.due_ms.min(run.due_ms);
        }
    }

    /// A consumer was cancelled: nobody else is blamed for what else it holds.
    pub(super) fn excuse(&mut self, id: ConsumerId) {
        for run in self.runs.values_mut().filter(|run| run.consumer == Some(id)) {
            run.excused = true;
        }
    }

    /// Settles `tag`, or everything up to it. Tag 0 with `multiple` stands for all.
    ///
    /// # Errors
    /// 406: the tag is not outstanding.
    pub(super) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        each: impl FnMut(Part<'_>),
    ) -> Result<(), AmqpError> {
        let mut each = each;
        let each = |part: Part<'_>| {
            if !part.run.back {
                each(part);
            }
        };
        if tag == 0 && multiple {
            self.take_all(each);
            return Ok(());
        }
        let Some(end) = self.end_of_run(tag) else { return Err(AmqpError::UnknownDeliveryTag(tag)) };
        if multiple {
            self.take_up_to(tag, each);
        } else {
            self.take_one(tag, end, each);
        }
        Ok(())
    }

    /// Settles everything, in the order of delivery.
    pub(super) fn take_all(&mut self, mut each: impl FnMut(Part<'_>)) {
        for (end, run) in mem::take(&mut self.runs) {
            if !run.back {
                each(run.part(run.first_tag, end));
            }
        }
    }

    /// The key of the run that holds `tag`.
    fn end_of_run(&self, tag: u64) -> Option<u64> {
        let (&end, run) = self.runs.range(tag.checked_add(1)?..).next()?;
        (run.first_tag <= tag).then_some(end)
    }

    fn take_one(&mut self, tag: u64, end: u64, mut each: impl FnMut(Part<'_>)) {
        let Some(run) = self.runs.get_mut(&end) else { return };
        each(run.part(tag, tag + 1));
        let before = (run.first_tag < tag).then(|| run.clone());
        run.trim_to(tag + 1);
        if tag + 1 == end {
            self.runs.remove(&end);
        }
        if let Some(before) = before {
            self.runs.insert(tag, before);
        }
    }

    fn take_up_to(&mut self, tag: u64, mut each: impl FnMut(Part<'_>)) {
        while let Some(mut entry) = self.runs.first_entry()
            && entry.get().first_tag <= tag
        {
            let end = *entry.key();
            let run = entry.get_mut();
            if end <= tag + 1 {
                each(run.part(run.first_tag, end));
                entry.remove();
            } else {
                each(run.part(run.first_tag, tag + 1));
                run.trim_to(tag + 1);
            }
        }
    }
}

impl UnackedRun {
    /// Deliveries of messages from `first_seq` on, under tags from `first_tag` on.
    pub(super) fn new(
        first_tag: u64,
        first_seq: u64,
        queue: Arc<Queue>,
        consumer: Option<ConsumerId>,
        due_ms: u64,
    ) -> Self {
        Self { first_tag, first_seq, queue, consumer, due_ms, excused: false, back: false }
    }

    fn part(&self, first_tag: u64, end_tag: u64) -> Part<'_> {
        let first_seq = self.first_seq + (first_tag - self.first_tag);
        let settled =
            Settled { consumer: self.consumer, range: SeqRange::of(first_seq, end_tag - first_tag) };
        Part { run: self, first_tag, settled }
    }

    /// The first `count` messages of the run.
    pub(super) fn settled(&self, count: u64) -> Settled {
        self.part(self.first_tag, self.first_tag + count).settled
    }

    fn trim_to(&mut self, first_tag: u64) {
        self.first_seq += first_tag - self.first_tag;
        self.first_tag = first_tag;
    }
}

/// Settled messages of one queue that share their fate.
type Group = (Arc<Queue>, Settlement, Vec<Settled>);

/// What the current read settled, by queue.
#[derive(Debug, Default)]
pub(super) struct AckBatch {
    groups: Vec<Group>,
    /// Steps that it takes to hand them over.
    cost: usize,
}

impl AckBatch {
    pub(super) fn add(&mut self, queue: &Arc<Queue>, fate: Settlement, settled: Settled) {
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
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Hands everything to the queues.
    pub(super) fn flush(&mut self, broker: &Broker, now: Now) {
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
    pub(super) fn take(&mut self) -> Vec<Group> {
        self.cost = 0;
        mem::take(&mut self.groups)
    }
}

/// Tells a queue what was acknowledged, in portions, so that others do not wait long for its lock.
fn acknowledge(broker: &Broker, queue: &Arc<Queue>, settled: &[Settled], now: Now) {
    let count: u64 = settled.iter().map(|part| part.range.len()).sum();
    broker.metrics().acknowledged.add(count);
    if count <= PORTION {
        return broker.settle(queue, settled, now);
    }
    let mut portion = Vec::new();
    let mut room = PORTION;
    for &Settled { consumer, range } in settled {
        let mut rest = range;
        while !rest.is_empty() {
            let range = SeqRange { end: rest.end.min(rest.first.saturating_add(room)), ..rest };
            portion.push(Settled { consumer, range });
            (rest.first, room) = (range.end, room - range.len());
            if room == 0 {
                broker.settle(queue, &mem::take(&mut portion), now);
                room = PORTION;
            }
        }
    }
    if !portion.is_empty() {
        broker.settle(queue, &portion, now);
    }
}

impl super::channel::Channel {
    /// basic.ack, basic.nack, basic.reject.
    pub(super) fn settle(
        &mut self,
        link: &mut ConnectionState,
        tag: u64,
        multiple: bool,
        fate: Settlement,
    ) -> Result<(), AmqpError> {
        if let Some(tx) = self.mode.transaction() {
            let runs = if multiple { self.unacked.len() } else { 1 };
            blocking::run_many(runs, || self.unacked.take(tag, multiple, |part| tx.settle(part, fate)))?;
            return self.check_transaction(link);
        }
        if self.limit.is_set() {
            link.eased.insert(self.number);
        }
        let (unacked, settles) = (&mut self.unacked, &mut link.settles);
        let runs = if multiple { unacked.len() } else { 1 };
        blocking::run_many(runs, || {
            unacked.take(tag, multiple, |part| settles.add(&part.run.queue, fate, part.settled))
        })
    }
}

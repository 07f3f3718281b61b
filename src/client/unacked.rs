//! Deliveries that wait for their acknowledgement.
//!
//! A channel's outstanding deliveries are runs: consecutive tags of consecutive messages of one
//! queue. They are ordered by the tag that ends them, so that taking tags off the front of a run
//! changes nothing but its value.

use crate::ids::{ConsumerId, QueueId, SeqRange};
use crate::queue::{Queue, Settled};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

/// Deliveries with consecutive tags.
#[derive(Debug, Clone)]
pub(crate) struct UnackedRun {
    pub(crate) first_tag: u64,
    /// The message that has `first_tag`.
    pub(crate) first_seq: u64,
    pub(crate) queue: Arc<Queue>,
    /// None: fetched by `basic.get`.
    pub(crate) consumer: Option<ConsumerId>,
    /// When it should be acknowledged, in monotonic milliseconds; `u64::MAX` for never, and for
    /// what is back in its queue.
    pub(crate) due_ms: u64,
    /// Its consumer was cancelled because something else was overdue.
    pub(crate) excused: bool,
    /// It was not acknowledged in time and is back in its queue; only its tags are kept.
    pub(crate) back: bool,
}

/// A delivery of this tag is not outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

/// A part of a run that is settled; borrowed from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) run: &'a UnackedRun,
    pub(crate) first_tag: u64,
    pub(crate) settled: Settled,
}

/// What one channel's client has to acknowledge.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// Keys are one past the last tag of the run.
    runs: BTreeMap<u64, UnackedRun>,
    /// No run is due before this.
    due_ms: u64,
}

impl Unacked {
    pub(crate) fn new() -> Self {
        Self { runs: BTreeMap::new(), due_ms: u64::MAX }
    }

    /// How many deliveries are outstanding; what is back in its queue already is none.
    pub(crate) fn count(&self) -> u64 {
        self.runs.iter().filter(|(_, run)| !run.back).map(|(end, run)| end - run.first_tag).sum()
    }

    /// The outstanding deliveries of a queue, run by run.
    pub(crate) fn of_queue(&self, queue: QueueId) -> impl Iterator<Item = Settled> {
        let is_held = move |run: &UnackedRun| !run.back && run.queue.id == queue;
        let runs = self.runs.iter().filter(move |(_, run)| is_held(run));
        runs.map(|(&end, run)| run.part(run.first_tag, end).settled)
    }

    /// How many runs there are; what `basic.get` fetches is one each.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// `count` deliveries from `run.first_tag` on are outstanding.
    pub(crate) fn add(&mut self, run: UnackedRun, count: u64) {
        if count > 0 {
            self.due_ms = self.due_ms.min(run.due_ms);
            self.runs.insert(run.first_tag + count, run);
        }
    }

    /// Nothing is overdue before this; `u64::MAX` for never.
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Shows every run that is overdue. Its tags stay, and stand for nothing.
    pub(crate) fn take_overdue(&mut self, now_ms: u64, mut each: impl FnMut(&UnackedRun, Settled)) {
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
    pub(crate) fn excuse(&mut self, id: ConsumerId) {
        for run in self.runs.values_mut().filter(|run| run.consumer == Some(id)) {
            run.excused = true;
        }
    }

    /// Settles `tag`, or everything up to it. Tag 0 with `multiple` stands for all.
    ///
    /// # Errors
    /// The tag is not outstanding.
    pub(crate) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        each: impl FnMut(Part<'_>),
    ) -> Result<(), UnknownTag> {
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
        let Some(end) = self.end_of_run(tag) else { return Err(UnknownTag(tag)) };
        if multiple {
            self.take_up_to(tag, each);
        } else {
            self.take_one(tag, end, each);
        }
        Ok(())
    }

    /// Settles everything, in the order of delivery.
    pub(crate) fn take_all(&mut self, mut each: impl FnMut(Part<'_>)) {
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
    pub(crate) fn new(
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
    pub(crate) fn settled(&self, count: u64) -> Settled {
        self.part(self.first_tag, self.first_tag + count).settled
    }

    fn trim_to(&mut self, first_tag: u64) {
        self.first_seq += first_tag - self.first_tag;
        self.first_tag = first_tag;
    }
}

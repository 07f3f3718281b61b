//! What a history says as a whole, gathered before its deliveries are judged one by one.

use crate::faults::history::{Event, Id, Record, Settlement};
use std::collections::{HashMap, HashSet};

/// A message that somebody tried to publish: a plain record of what the history says of it.
#[derive(Debug)]
pub(super) struct Message {
    /// The process it was sent to.
    pub(super) epoch: u32,
    /// The event of its publish.
    pub(super) at: usize,
    pub(super) queues: &'static [&'static str],
    pub(super) confirmed: bool,
    /// The transaction that it is part of, whose commit it waits for.
    pub(super) attempt: Option<usize>,
}

/// A transaction, from the first thing in it to its commit: a plain record.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) epoch: u32,
    /// The event that tried the commit; none: it never takes effect.
    pub(super) tried_at: Option<usize>,
    pub(super) committed: bool,
    pub(super) outputs: Vec<Id>,
    pub(super) inputs: Vec<(&'static str, Id)>,
}

/// A purge or delete of a queue.
#[derive(Debug)]
struct Removal {
    tried_at: usize,
    done_at: Option<usize>,
}

/// What a whole history says about each message and queue.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) messages: HashMap<Id, Message>,
    pub(super) attempts: Vec<Attempt>,
    /// Settlings that are part of a transaction, by their events.
    attempt_of: HashMap<usize, usize>,
    /// When each process was told to end, and whether by a kill.
    endings: HashMap<u32, (usize, bool)>,
    /// When each client gave up its connection.
    closed: HashMap<u32, usize>,
    /// Events of answers, by channel, ascending.
    answers: HashMap<u32, Vec<usize>>,
    /// By process: whatever it had taken before this event is on disk.
    synced: HashMap<u32, usize>,
    removals: HashMap<&'static str, Vec<Removal>>,
    /// Where refused messages of a queue go.
    dead_letters: HashMap<&'static str, &'static str>,
    /// Queues along which messages move by themselves.
    wander: HashSet<&'static str>,
    /// By process and queue: the dead letters that were seen while it lived, in order, each with
    /// the latest event in which one that had been seen by then was refused.
    buried: HashMap<(u32, &'static str), Vec<(usize, usize)>>,
}

impl Facts {
    pub(super) fn of(records: &[Record]) -> Self {
        let mut facts = Self::default();
        // The transaction that each transactional channel is in.
        let mut open: HashMap<u32, usize> = HashMap::new();
        let mut refused = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            facts.take(at, record);
            facts.take_of_letters(at, record, &mut refused);
            facts.take_of_transactions(at, record, &mut open);
        }
        facts
    }

    fn take(&mut self, at: usize, record: &Record) {
        let Record { epoch, channel, ref event } = *record;
        match *event {
            Event::Published { id, queues } => {
                self.messages.insert(id, Message { epoch, at, queues, confirmed: false, attempt: None });
            }
            Event::Confirmed { id } => {
                if let Some(message) = self.messages.get_mut(&id) {
                    message.confirmed = true;
                    let synced = self.synced.entry(message.epoch).or_default();
                    *synced = message.at.max(*synced);
                }
            }
            Event::DeadLetters { queue, dead } => {
                self.dead_letters.insert(queue, dead);
            }
            Event::Wanders { queue } => {
                self.wander.insert(queue);
            }
            Event::Answered => self.answers.entry(channel).or_default().push(at),
            Event::Closed => {
                self.closed.entry(channel).or_insert(at);
            }
            Event::Ending { crash } => {
                self.endings.entry(epoch).or_insert((at, crash));
            }
            Event::Died { .. } => {
                self.endings.entry(epoch).or_insert((at, true));
            }
            Event::RemoveTried { queue, .. } => {
                self.removals.entry(queue).or_default().push(Removal { tried_at: at, done_at: None });
            }
            Event::Removed { queue, .. } => {
                if let Some(removal) = self.removals.entry(queue).or_default().last_mut() {
                    removal.done_at = Some(at);
                }
            }
            _ => {}
        }
    }

    /// `refused` has the event in which each message was refused last, by its queue.
    fn take_of_letters(
        &mut self,
        at: usize,
        record: &Record,
        refused: &mut HashMap<(u32, &'static str, Id), usize>,
    ) {
        let epoch = record.epoch;
        match record.event {
            Event::Settled { id, queue, settlement: Settlement::Reject } => {
                refused.insert((epoch, queue, id), at);
            }
            Event::Delivered { id, queue: dead, .. } if !self.ends_before(epoch, at) => {
                let Some(queue) = self.source_of(dead) else { return };
                let Some(&refused_at) = refused.get(&(epoch, queue, id)) else { return };
                let buried = self.buried.entry((epoch, queue)).or_default();
                let before = buried.last().map_or(0, |&(_, latest)| latest);
                buried.push((at, before.max(refused_at)));
            }
            _ => {}
        }
    }

    fn take_of_transactions(&mut self, at: usize, record: &Record, open: &mut HashMap<u32, usize>) {
        let channel = record.channel;
        if record.event == Event::Transactional {
            self.begin(record, open);
        }
        let Some(&current) = open.get(&channel) else { return };
        let attempt = &mut self.attempts[current];
        match record.event {
            Event::Published { id, .. } => {
                attempt.outputs.push(id);
                if let Some(message) = self.messages.get_mut(&id) {
                    message.attempt = Some(current);
                }
            }
            Event::Settled { id, queue, .. } => {
                attempt.inputs.push((queue, id));
                self.attempt_of.insert(at, current);
            }
            Event::CommitTried => attempt.tried_at = Some(at),
            Event::Committed => {
                attempt.committed = true;
                let outputs: HashSet<Id> = attempt.outputs.iter().copied().collect();
                for id in outputs {
                    if let Some(message) = self.messages.get_mut(&id) {
                        message.confirmed = true;
                    }
                }
                self.begin(record, open);
            }
            Event::RolledBack => self.begin(record, open),
            _ => {}
        }
    }

    fn begin(&mut self, record: &Record, open: &mut HashMap<u32, usize>) {
        open.insert(record.channel, self.attempts.len());
        self.attempts.push(Attempt { epoch: record.epoch, ..Attempt::default() });
    }

    /// The queue that refused messages of `queue` go to.
    pub(super) fn dead_letters_of(&self, queue: &str) -> Option<&'static str> {
        self.dead_letters.get(queue).copied()
    }

    /// Whether messages move along `queue` by themselves.
    pub(super) fn wander_in(&self, queue: &str) -> bool {
        self.wander.contains(queue)
    }

    /// The queue whose refused messages go to `queue`.
    pub(super) fn source_of(&self, queue: &str) -> Option<&'static str> {
        self.dead_letters.iter().find(|(_, dead)| **dead == queue).map(|(&source, _)| source)
    }

    /// Whether the process was killed, so that only what is on disk outlived it.
    pub(super) fn crashed(&self, epoch: u32) -> bool {
        self.endings.get(&epoch).is_some_and(|&(_, crash)| crash)
    }

    /// Whether the process had been told to end before event `at`.
    pub(super) fn ends_before(&self, epoch: u32, at: usize) -> bool {
        self.endings.get(&epoch).is_some_and(|&(ending, _)| ending < at)
    }

    /// Whether the client had given up its connection before event `at`.
    pub(super) fn closed_before(&self, channel: u32, at: usize) -> bool {
        self.closed.get(&channel).is_some_and(|&closed| closed < at)
    }

    /// The transaction that the settling in event `at` is part of.
    pub(super) fn attempt_of(&self, at: usize) -> Option<&Attempt> {
        self.attempt_of.get(&at).and_then(|&attempt| self.attempts.get(attempt))
    }

    /// Whether the broker has certainly taken what `channel` said in event `at`.
    pub(super) fn is_taken(&self, channel: u32, at: usize) -> bool {
        match self.attempt_of(at) {
            Some(attempt) => attempt.committed,
            None => self.answered_at(channel, at).is_some(),
        }
    }

    /// Whether how `channel` settled a message of `queue` in event `at`, as process `epoch` was
    /// told, was certainly on disk when that ended. A dead letter may have to be read from disk
    /// first, and what is confirmed meanwhile says nothing of it; but letters go in order.
    pub(super) fn is_kept(
        &self,
        (epoch, channel): (u32, u32),
        queue: &'static str,
        (at, how): (usize, Settlement),
    ) -> bool {
        if !self.crashed(epoch) || self.attempt_of(at).is_some() {
            return self.is_taken(channel, at);
        }
        let Some(answered) = self.answered_at(channel, at) else { return false };
        let synced = self.synced.get(&epoch).copied().unwrap_or_default();
        if how == Settlement::Reject && self.dead_letters_of(queue).is_some() {
            let buried = self.buried.get(&(epoch, queue)).map_or(&[][..], Vec::as_slice);
            let seen = &buried[..buried.partition_point(|&(seen, _)| seen < synced)];
            return seen.last().is_some_and(|&(_, latest)| answered < latest);
        }
        answered < synced
    }

    fn answered_at(&self, channel: u32, at: usize) -> Option<usize> {
        let answers = self.answers.get(&channel)?;
        answers.get(answers.partition_point(|&answer| answer < at)).copied()
    }

    /// Whether `message` can have reached a queue at all.
    pub(super) fn was_sent(&self, message: &Message) -> bool {
        message.attempt.is_none_or(|attempt| self.attempts[attempt].tried_at.is_some())
    }

    /// Whether `queue` was emptied for certain between event `since` and event `at`.
    pub(super) fn removed_between(&self, queue: &str, since: usize, at: usize) -> bool {
        self.removals
            .get(queue)
            .into_iter()
            .flatten()
            .any(|removal| removal.tried_at > since && removal.done_at.is_some_and(|done_at| done_at < at))
    }

    /// Whether somebody has tried to empty `queue` after event `since`.
    pub(super) fn removal_tried_after(&self, queue: &str, since: usize) -> bool {
        self.removals.get(queue).into_iter().flatten().any(|removal| removal.tried_at > since)
    }
}

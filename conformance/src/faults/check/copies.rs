//! Deliveries, judged one by one: each message has a copy in each of its queues, which is with one
//! consumer at most.

use super::facts::{Facts, Message};
use super::{Kind, Violation};
use crate::faults::history::{Event, Id, Record, Settlement};
use std::collections::HashMap;

/// Where and when something happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) epoch: u32,
    pub(super) channel: u32,
    /// The event.
    pub(super) at: usize,
}

/// What is known of a message in one queue.
#[derive(Debug, Default)]
pub(super) struct Copy {
    /// Every delivery, in order.
    pub(super) deliveries: Vec<Place>,
    /// One of them was not marked as redelivered.
    unmarked: bool,
    /// The last delivery was not answered by its consumer yet.
    pub(super) held: bool,
    /// The last delivery was settled for good.
    pub(super) settled: Option<(Place, Settlement)>,
    /// A message was refused since, and must come to this queue of dead letters.
    pub(super) owed: bool,
}

impl Copy {
    /// Whether a delivery that is not marked as redelivered may have been the first: consumers read
    /// what a process had sent when it was about to end at their own pace, and others may have read
    /// before what was sent after it.
    fn may_have_come_first(&self, facts: &Facts, place: Place) -> bool {
        let is_elsewhere = |other: &Place| other.epoch == place.epoch && other.channel != place.channel;
        facts.ends_before(place.epoch, place.at) && !self.unmarked && self.deliveries.iter().all(is_elsewhere)
    }
}

/// The state of each message in each of its queues, followed delivery by delivery.
pub(super) struct Copies<'a> {
    facts: &'a Facts,
    copies: HashMap<(&'static str, Id), Copy>,
    /// By process and queue: the channels that may be given its messages.
    consumers: HashMap<(u32, &'static str), Vec<u32>>,
    /// By consuming channel, queue and publishing channel: the newest message that was seen first
    /// there.
    newest: HashMap<(u32, &'static str, u32), u32>,
    pub(super) violations: Vec<Violation>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        Self {
            facts,
            copies: HashMap::new(),
            consumers: HashMap::new(),
            newest: HashMap::new(),
            violations: Vec::new(),
        }
    }

    /// What is known of a message in a queue.
    pub(super) fn of(&self, queue: &'static str, id: Id) -> Option<&Copy> {
        self.copies.get(&(queue, id))
    }

    /// Takes the events in, process by process.
    pub(super) fn handle(&mut self, at: usize, record: &Record) {
        let place = Place { epoch: record.epoch, channel: record.channel, at };
        match record.event {
            Event::Consumes { queue } => {
                self.consumers.entry((place.epoch, queue)).or_default().push(place.channel);
            }
            Event::Delivered { id, queue, redelivered } => self.deliver(place, queue, id, redelivered),
            Event::Settled { id, queue, settlement } => self.settle(place, queue, id, settlement),
            _ => {}
        }
    }

    fn settle(&mut self, place: Place, queue: &'static str, id: Id, settlement: Settlement) {
        // What is part of a transaction that was never to be committed has no effect.
        if self.facts.attempt_of(place.at).is_some_and(|attempt| attempt.tried_at.is_none()) {
            return;
        }
        let copy = self.copies.entry((queue, id)).or_default();
        copy.held = false;
        copy.settled = (settlement != Settlement::Requeue).then_some((place, settlement));
        if settlement == Settlement::Reject
            && let Some(dead) = self.facts.dead_letters_of(queue)
        {
            self.copies.entry((dead, id)).or_default().owed = true;
        }
    }

    fn deliver(&mut self, place: Place, queue: &'static str, id: Id, redelivered: bool) {
        let facts = self.facts;
        let Some(message) = facts.messages.get(&id).filter(|message| facts.was_sent(message)) else {
            return self.report(Kind::Invented, place, queue, id, "which nobody sent");
        };
        self.check_way(place, queue, id, message);
        self.check_settled(place, queue, id);
        self.check_held(place, queue, id);
        let copy = self.copies.entry((queue, id)).or_default();
        let before = copy.deliveries.len();
        let is_wrong = before > 0 && !redelivered && !copy.may_have_come_first(facts, place);
        copy.unmarked |= !redelivered;
        copy.deliveries.push(place);
        copy.held = true;
        copy.settled = None;
        copy.owed = false;
        if is_wrong && !facts.wander_in(queue) {
            self.report(Kind::WrongFlag, place, queue, id, "again without saying so");
        }
        if before == 0 && self.facts.source_of(queue).is_none() {
            self.check_order((place, redelivered), queue, id);
        }
        // It is back from disk, where it had not died yet: it may die anew.
        if let Some(dead) = self.facts.dead_letters_of(queue)
            && before > 0
        {
            self.copies.remove(&(dead, id));
        }
    }

    /// It must have been sent to this queue, or be refused in the one whose dead letters come here.
    fn check_way(&mut self, place: Place, queue: &'static str, id: Id, message: &Message) {
        if self.facts.removed_between(queue, message.at, place.at) {
            self.report(Kind::Resurrected, place, queue, id, "which was purged or deleted");
        }
        let Some(source) = self.facts.source_of(queue) else {
            if !message.queues.contains(&queue) {
                self.report(Kind::Invented, place, queue, id, "which was sent elsewhere");
            }
            return self.check_dead(place, queue, id);
        };
        match self.copies.get(&(source, id)) {
            Some(Copy { settled: Some((_, Settlement::Reject)), .. }) => {}
            Some(copy) if copy.deliveries.iter().any(|delivery| delivery.epoch < place.epoch) => {
                self.report(Kind::HalfDone, place, queue, id, "which is alive in its first queue");
            }
            _ => self.report(Kind::Invented, place, queue, id, "which nobody refused"),
        }
    }

    /// A message whose dead letter outlived the process that it was refused in is dead; likewise as
    /// long as that lives.
    fn check_dead(&mut self, place: Place, queue: &'static str, id: Id) {
        let Some(dead) = self.facts.dead_letters_of(queue) else { return };
        let settled = self.copies.get(&(queue, id)).and_then(|copy| copy.settled);
        let Some((refusal, Settlement::Reject)) = settled else { return };
        let letter = self.copies.get(&(dead, id)).filter(|letter| !letter.owed);
        let seen = letter.into_iter().flat_map(|letter| &letter.deliveries);
        let mut proof = seen.filter(|seen| seen.epoch > refusal.epoch || place.epoch == refusal.epoch);
        if proof.next().is_some() {
            self.report(Kind::HalfDone, place, queue, id, "which is among the dead letters");
        }
    }

    fn check_settled(&mut self, place: Place, queue: &'static str, id: Id) {
        let facts = self.facts;
        let settled = self.copies.get(&(queue, id)).and_then(|copy| copy.settled);
        let Some((settling, settlement)) = settled else { return };
        let too_late = if settling.epoch == place.epoch {
            // A message that its consumer has settled comes again only if the connection broke
            // before that arrived.
            let broke =
                facts.closed_before(settling.channel, place.at) || facts.ends_before(place.epoch, place.at);
            facts.is_taken(settling.channel, settling.at) || !broke
        } else {
            facts.is_kept((settling.epoch, settling.channel), queue, (settling.at, settlement))
        };
        if !too_late {
            return;
        }
        let committed = facts.attempt_of(settling.at).is_some_and(|attempt| attempt.committed);
        let kind = if committed { Kind::Resurrected } else { Kind::Duplicated };
        self.report(kind, place, queue, id, &format!("after its {settlement:?} in event {}", settling.at));
    }

    fn check_held(&mut self, place: Place, queue: &'static str, id: Id) {
        let Some(copy) = self.copies.get(&(queue, id)).filter(|copy| copy.held) else { return };
        let Some(&holder) = copy.deliveries.last() else { return };
        let left = self.facts.closed_before(holder.channel, place.at);
        if holder.epoch == place.epoch && !left && !self.facts.ends_before(place.epoch, place.at) {
            let what = format!("which channel {} still holds", holder.channel);
            self.report(Kind::Duplicated, place, queue, id, &what);
        }
    }

    /// Other consumers that left may have given back what they had been dealt and nobody saw, or
    /// their channels have not said yet that they saw it before the process ended: then there is no
    /// telling.
    fn check_order(&mut self, (place, redelivered): (Place, bool), queue: &'static str, id: Id) {
        let newest = self.newest.entry((place.channel, queue, id.channel)).or_default();
        let before = *newest;
        *newest = before.max(id.number);
        let others = self.consumers.get(&(place.epoch, queue)).into_iter().flatten();
        let mut left =
            others.filter(|&&other| other != place.channel && self.facts.closed_before(other, place.at));
        let was_elsewhere = redelivered && self.facts.ends_before(place.epoch, place.at);
        if before > id.number && !was_elsewhere && left.next().is_none() {
            let what = format!("after {} of the same channel", Id { number: before, ..id });
            self.report(Kind::Reordered, place, queue, id, &what);
        }
    }

    fn report(&mut self, kind: Kind, place: Place, queue: &str, id: Id, what: &str) {
        let Place { epoch, channel, at } = place;
        let what = format!("{queue} delivered {id} {what} (event {at}, process {epoch}, channel {channel})");
        self.violations.push(Violation::new(kind, what, [id]));
    }
}

//! What should have come and did not: lost messages, and what happened in one place and not in
//! another.

use super::copies::{Copies, Copy};
use super::facts::{Attempt, Facts, Message};
use super::{Kind, Violation};
use crate::faults::history::{Id, Settlement};

/// Finds messages that should have been delivered and were not.
pub(super) fn check(facts: &Facts, copies: &Copies<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut ids: Vec<_> = facts.messages.keys().copied().collect();
    ids.sort_unstable();
    for id in ids {
        let message = &facts.messages[&id];
        if facts.was_sent(message) && is_durable(facts, copies, id, message) {
            violations.extend(missing(facts, copies, id, message));
        }
    }
    for attempt in &facts.attempts {
        if let Some(tried_at) = attempt.tried_at
            && !attempt.committed
        {
            violations.extend(torn(facts, copies, attempt, tried_at));
        }
    }
    violations
}

/// Whether the broker must have kept it: it said so, or it did.
fn is_durable(facts: &Facts, copies: &Copies<'_>, id: Id, message: &Message) -> bool {
    message.confirmed
        || places(facts, message).filter_map(|queue| copies.of(queue, id)).any(|copy| {
            let seen_by_another = copy.deliveries.iter().any(|delivery| delivery.epoch > message.epoch);
            seen_by_another || (!copy.deliveries.is_empty() && !facts.crashed(message.epoch))
        })
}

/// Every queue that it may be in.
fn places(facts: &Facts, message: &Message) -> impl Iterator<Item = &'static str> {
    message
        .queues
        .iter()
        .copied()
        .flat_map(|queue| std::iter::once(queue).chain(facts.dead_letters_of(queue)))
}

/// What is missing of a message that is durable.
fn missing(facts: &Facts, copies: &Copies<'_>, id: Id, message: &Message) -> Option<Violation> {
    let excused = |queue: &&'static str| facts.removal_tried_after(queue, message.at);
    let is_missing = |queue: &&'static str| !excused(queue) && !is_settled(facts, copies, queue, id);
    let missing: Vec<_> = message.queues.iter().copied().filter(is_missing).collect();
    let (&first, seen) =
        (missing.first()?, message.queues.iter().any(|queue| copies.of(queue, id).is_some()));
    let state = copies.of(first, id).map_or("never delivered", |copy| state(copy));
    let claim = if message.confirmed { "confirmed" } else { "not confirmed but on disk" };
    let half = seen && message.queues.len() > 1 && copies.of(first, id).is_none();
    let kind = if half { Kind::HalfDone } else { Kind::Lost };
    let what = format!("{id} was {claim} (event {}); {first}: {state}", message.at);
    Some(Violation::new(kind, what, [id]))
}

fn is_settled(facts: &Facts, copies: &Copies<'_>, queue: &'static str, id: Id) -> bool {
    match copies.of(queue, id).and_then(|copy| copy.settled) {
        Some((_, Settlement::Reject)) => facts.dead_letters_of(queue).is_none_or(|dead| {
            copies.of(dead, id).is_some_and(|letter| !letter.owed && letter.settled.is_some())
        }),
        Some((_, Settlement::Ack | Settlement::Requeue)) => true,
        None => false,
    }
}

fn state(copy: &Copy) -> &'static str {
    match copy {
        Copy { settled: Some((_, Settlement::Reject)), .. } => "refused, and not among the dead letters",
        Copy { held: true, .. } => "delivered, not settled, and not there any more",
        _ => "requeued, and not there any more",
    }
}

/// What is wrong with a transaction whose commit was tried and not answered: its inputs must be
/// back, or its outputs there, and not both. (In a process that was killed, outputs may be seen
/// before they are on disk.)
fn torn(facts: &Facts, copies: &Copies<'_>, attempt: &Attempt, tried_at: usize) -> Vec<Violation> {
    let seen = |queue: &'static str, id: Id, after: usize, later: bool| {
        copies.of(queue, id).is_some_and(|copy| {
            copy.deliveries.iter().any(|delivery| {
                let of_another = delivery.epoch > attempt.epoch;
                if later { of_another } else { delivery.epoch == attempt.epoch && delivery.at > after }
            })
        })
    };
    let output_seen = |later| {
        attempt.outputs.iter().any(|&id| {
            facts
                .messages
                .get(&id)
                .is_some_and(|message| message.queues.iter().any(|queue| seen(queue, id, tried_at, later)))
        })
    };
    let (output_now, output_later) = (output_seen(false), output_seen(true));
    let crashed = facts.crashed(attempt.epoch);
    let mut violations = Vec::new();
    for &(queue, id) in &attempt.inputs {
        let (input_now, input_later) = (seen(queue, id, tried_at, false), seen(queue, id, tried_at, true));
        let both = (input_now && (output_now || output_later))
            || (input_later && (output_later || (output_now && !crashed)));
        let kept = facts.messages.get(&id).is_some_and(|message| is_durable(facts, copies, id, message));
        let neither =
            kept && !attempt.outputs.is_empty() && !(input_now || input_later || output_now || output_later);
        let what = match (both, neither) {
            (true, _) => "its input came back and its outputs are there",
            (_, true) => "its input is gone and its outputs are not there",
            _ => continue,
        };
        let what = format!("of the transaction whose commit was tried in event {tried_at}, {what}");
        let messages = std::iter::once(id).chain(attempt.outputs.iter().copied());
        violations.push(Violation::new(Kind::HalfDone, what, messages));
    }
    violations
}

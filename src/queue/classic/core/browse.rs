//! How messages stand, by their numbers, and single messages taken out of their places.
//!
//! Looking changes nothing. What is taken out is live and in no place, as if a consumer had it,
//! until it is put back or removed.

use super::bodies::bytes_in;
use super::letters::{DeathReason, is_logged};
use super::requeues::Requeued;
use super::{Core, RecordPlace};
use crate::clock::Now;
use crate::ids::SeqRange;
use crate::queue::browse::{Look, LookedRun, MessageState, Named, NotTaken, Origin, WINDOW, Withdrawn};
use crate::queue::ranges::RangeMap;
use crate::store::change::Change;
use std::sync::Arc;

/// The window of live messages that begins at or after `at`, or with `back` ends at or before it.
pub(in crate::queue::classic) fn look(core: &Core, at: u64, back: bool) -> Option<Look> {
    let window = if back {
        let end = core.live.before(at)?.0.end.min(at);
        SeqRange { first: end.saturating_sub(WINDOW), end }
    } else {
        let (piece, _) = core.live.at(at).or_else(|| core.live.from(at).next())?;
        let first = piece.first.max(at);
        SeqRange { first, end: first.saturating_add(WINDOW) }
    };
    let mut runs = Vec::new();
    core.live.within(window, |piece, place| {
        let place = match place {
            RecordPlace::Memory { block, base, .. } => Some((Arc::clone(block), *base)),
            RecordPlace::Disk => None,
        };
        let mut at = piece.first;
        while at < piece.end {
            let run = LookedRun { place: place.clone(), ..run_at(core, SeqRange { first: at, ..piece }) };
            at = run.range.end;
            runs.push(run);
        }
    });
    Some(Look { window, runs })
}

/// The first messages of `range`, all of which are live, that stand alike.
fn run_at(core: &Core, range: SeqRange) -> LookedRun {
    let at = range.first;
    let run = |own: SeqRange, state, deliveries, redelivered| LookedRun {
        range: own.meet(range),
        state,
        deliveries,
        redelivered,
        place: None,
    };
    let deaths = core.letters.as_ref().map(|letters| letters.deaths());
    if let Some((own, death)) = deaths.and_then(|deaths| deaths.at(at)) {
        return run(own, MessageState::Dead { reason: death.reason, cause: death.cause }, 0, true);
    }
    if let Some((own, &due_ms)) = core.waiting.times().at(at) {
        let deliveries = core.waiting.deliveries(due_ms, at);
        return run(own, MessageState::Delayed { due_ms }, deliveries, deliveries > 0);
    }
    if let Some((own, requeued)) = core.returned.at(at) {
        return run(own, MessageState::Ready, requeued.deliveries, requeued.redelivered);
    }
    if core.lanes.is_fresh(at) {
        return run(range, MessageState::Ready, 0, core.lanes.was_seen(at));
    }
    let failed = core.failed.at(at);
    let begins = [
        deaths.and_then(|deaths| first_from(deaths, at)),
        first_from(core.waiting.times(), at),
        first_from(&core.returned, at),
        first_from(&core.failed, at + 1),
        failed.map(|(own, _)| own.end),
        core.lanes.next_before(range).filter(|&next| next > at),
    ];
    let end = begins.into_iter().flatten().fold(range.end, u64::min);
    let redelivered = failed.is_some() || core.lanes.was_seen(at);
    let deliveries = failed.map_or(0, |(_, &count)| count);
    run(SeqRange { first: at, end }, MessageState::Unacknowledged, deliveries, redelivered)
}

fn first_from<V: Clone + PartialEq>(ranges: &RangeMap<V>, seq: u64) -> Option<u64> {
    ranges.from(seq).next().map(|(range, _)| range.first)
}

/// The first `most` messages that wait until `after` or longer, in order of time.
pub(in crate::queue::classic) fn delayed_from(
    core: &Core,
    after: (u64, u64),
    most: usize,
) -> Vec<(u64, u64)> {
    core.waiting.in_order(after, most)
}

/// One past the highest number that was given, of each lane, in order.
pub(in crate::queue::classic) fn tails(core: &Core) -> Vec<u64> {
    core.lanes.iter().map(|lane| lane.tail).collect()
}

/// Takes a message out of its place.
///
/// # Errors
/// It is in none from which it can be taken.
pub(in crate::queue::classic) fn withdraw(core: &mut Core, named: Named) -> Result<Withdrawn, NotTaken> {
    let (seq, range) = (named.seq, SeqRange::of(named.seq, 1));
    core.live.at(seq).ok_or(NotTaken::Gone)?;
    if let Some((_, death)) = core.letters.as_ref().and_then(|letters| letters.deaths().at(seq)) {
        death.cause.ok_or(NotTaken::Leaving)?;
        return Ok(Withdrawn { named, from: Origin::Parked });
    }
    let from = if let Some((due_ms, deliveries)) = core.waiting.take(seq, named.own_due_ms) {
        Origin::Delayed { due_ms, deliveries }
    } else if core.lanes.is_fresh(seq) {
        core.pass_by(range);
        Origin::Ready { deliveries: 0, redelivered: core.lanes.was_seen(seq) }
    } else {
        let mut found = None;
        core.returned.take(range, |_, requeued| found = Some(requeued));
        let Requeued { deliveries, redelivered } = found.ok_or(NotTaken::Unacknowledged)?;
        Origin::Ready { deliveries, redelivered }
    };
    core.bodies.take(bytes_in(core, range));
    if let Some(sizes) = &mut core.sizes {
        sizes.take(range);
    }
    Ok(Withdrawn { named, from })
}

/// Puts a message back where it stood.
pub(in crate::queue::classic) fn put_back(core: &mut Core, withdrawn: Withdrawn) {
    let (seq, range) = (withdrawn.named.seq, SeqRange::of(withdrawn.named.seq, 1));
    match withdrawn.from {
        Origin::Ready { deliveries, redelivered } => {
            core.returned.insert(range, Requeued { deliveries, redelivered });
        }
        Origin::Delayed { due_ms, deliveries } => core.waiting.insert(due_ms, seq, deliveries),
        Origin::Parked => return,
    }
    core.bodies.put_back(bytes_in(core, range));
    if let Some(sizes) = &mut core.sizes {
        sizes.put_back(range);
    }
}

/// Removes a message for good that was taken out of its place.
pub(in crate::queue::classic) fn remove(core: &mut Core, withdrawn: Withdrawn) {
    let Named { seq, bytes, .. } = withdrawn.named;
    if matches!(withdrawn.from, Origin::Parked)
        && let Some(letters) = &mut core.letters
    {
        letters.take_parked(seq, bytes);
    }
    core.remove(SeqRange::of(seq, 1));
}

/// Has a delayed message be ready now, or with `delays` be sent on; one that is parked where
/// messages are delayed is tried again. Whether that is all: what is parked elsewhere is not ready
/// by it.
///
/// # Errors
/// It is not there, or neither delayed nor parked.
pub(in crate::queue::classic) fn bring_forward(
    core: &mut Core,
    named: Named,
    delays: bool,
    now: Now,
) -> Result<bool, NotTaken> {
    let (queue, seq, range) = (core.queue, named.seq, SeqRange::of(named.seq, 1));
    let logged = is_logged(core.live.at(seq).ok_or(NotTaken::Gone)?.1);
    if let Some(letters) = &mut core.letters
        && let Some((_, death)) = letters.deaths().at(seq)
    {
        death.cause.ok_or(NotTaken::Leaving)?;
        return Ok(delays && letters.retry_parked(seq, named.bytes));
    }
    let Some((_, deliveries)) = core.waiting.take(seq, named.own_due_ms) else {
        let is_ready = core.lanes.is_fresh(seq) || core.returned.at(seq).is_some();
        return Err(if is_ready { NotTaken::Ready } else { NotTaken::Unacknowledged });
    };
    if delays {
        core.die(range, DeathReason::Delayed, true, now.unix_ms);
        return Ok(true);
    }
    core.returned.insert(range, Requeued { deliveries, redelivered: true });
    if logged {
        core.changes.push(Change::Requeue { queue, seq, deliveries, due_ms: 0 });
    }
    Ok(true)
}

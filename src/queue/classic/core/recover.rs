//! The log of a queue that was on disk.

use super::paging::Progress;
use super::requeues::Requeued;
use super::{Core, RecordPlace};
use crate::ids::{SeqRange, lane_of};
use crate::store::change::{RecoveredLane, RecoveredQueue, RecoveredReturn};
use crate::store::mark::Mark;
use std::collections::BTreeMap;

impl Core {
    /// The state of a queue that was on disk. After a crash any message may have been delivered
    /// before.
    pub(in crate::queue) fn recover(recovered: &RecoveredQueue, clean: bool) -> Self {
        let mut core = Self::new(recovered.record.id);
        core.expires = recovered.expires;
        for &range in &recovered.messages {
            core.live.insert(range, RecordPlace::Disk);
        }
        let returns: BTreeMap<u64, RecoveredReturn> =
            recovered.returns.iter().map(|&returned| (returned.seq, returned)).collect();
        for lane in &recovered.lanes {
            let in_lane = |range: &&SeqRange| lane_of(range.first) == lane.lane;
            let messages: Vec<SeqRange> = recovered.messages.iter().filter(in_lane).copied().collect();
            core.recover_lane(lane, &messages, &returns, clean);
        }
        core.order_letters();
        core
    }

    fn recover_lane(
        &mut self,
        recovered: &RecoveredLane,
        messages: &[SeqRange],
        returns: &BTreeMap<u64, RecoveredReturn>,
        clean: bool,
    ) {
        let lane = self.lanes.lane(recovered.lane);
        lane.tail = recovered.next.max(lane.first);
        lane.progress = Progress::recovered(lane.first, lane.tail);
        // Numbers that were delivered and are gone may be given again: they say nothing about new
        // messages.
        let seen = if clean { recovered.delivered_up_to } else { recovered.next };
        lane.seen = seen.clamp(lane.first, lane.tail);
        // The last stretch without a hole or a failed delivery is fresh; everything before it was
        // returned.
        let unbroken = match messages.last() {
            Some(range) if range.end == lane.tail => range.first,
            Some(_) | None => lane.tail,
        };
        let (first, tail, seen) = (lane.first, lane.tail, lane.seen);
        let after_failed = returns.range(first..tail).next_back().map_or(first, |(&seq, _)| seq + 1);
        let next = unbroken.max(after_failed).max(seen).min(tail);
        lane.next = next;
        for &range in messages {
            self.put_back_recovered(range.meet(SeqRange { first, end: next }), seen, returns);
        }
    }

    fn put_back_recovered(&mut self, range: SeqRange, seen: u64, returns: &BTreeMap<u64, RecoveredReturn>) {
        let mut at = range.first;
        for (&seq, &RecoveredReturn { deliveries, due_ms, .. }) in
            returns.range(range.first..range.end.max(range.first))
        {
            self.put_back_plain(SeqRange { first: at, end: seq }, seen);
            if let Some(mark) = Mark::decode(due_ms) {
                self.recover_letter(seq, mark, deliveries);
            } else if due_ms > 0 {
                self.waiting.insert(due_ms, seq, deliveries);
            } else {
                self.returned.insert(SeqRange::of(seq, 1), Requeued { deliveries, redelivered: true });
            }
            at = seq + 1;
        }
        self.put_back_plain(SeqRange { first: at, end: range.end }, seen);
    }

    fn put_back_plain(&mut self, range: SeqRange, seen: u64) {
        let before = range.meet(SeqRange { first: 0, end: seen });
        self.returned.insert(before, Requeued { deliveries: 0, redelivered: true });
        let unseen = SeqRange { first: range.first.max(before.end), end: range.end };
        self.returned.insert(unseen, Requeued { deliveries: 0, redelivered: false });
    }
}

//! What makes room on a full disk, and may reach it ahead of a group that does not fit there.
//!
//! Such a group is kept and tried again, with all that came after it merged into it: once it fits,
//! it has the effect of all that happened since, in its order. So what goes ahead of it is done
//! twice, to the same effect, as long as it does not undo what comes later on: messages and objects
//! that leave do not come again under their numbers, and what is declared again by a name is
//! declared by the group.
//!
//! What belongs together stays together: nothing is taken out of a cut with records, in which
//! messages may leave one queue for another, or with marks of messages, which may be those of a
//! transaction as well as what leaves; and nothing of a stream. A queue that messages left is not
//! deleted either before they are where they go.

use super::merge::WriteBatch;
use crate::ids::QueueId;
use crate::store::change::Change;
use std::collections::BTreeSet;

/// Changes that may go ahead.
#[derive(Debug, Default)]
pub(super) struct Relief {
    changes: Vec<Change>,
    /// Queues of which messages leave that may be elsewhere in what waits.
    left: BTreeSet<QueueId>,
    /// It was tried, and what came of that is not known.
    under_way: bool,
}

impl Relief {
    /// From now on `group` waits.
    pub(super) fn begin(&mut self, group: &WriteBatch) {
        let leaves = group.queues.iter().filter(|(_, queue)| !queue.settled.is_empty());
        self.left.extend(leaves.map(|(&id, _)| id));
    }

    /// This came then, and waits with it.
    pub(super) fn add(&mut self, cut: &[Change]) {
        if cut.iter().any(|change| matches!(change, Change::Publish { .. } | Change::Requeue { .. })) {
            let leaves = |change: &Change| match change {
                Change::Settle { queue, .. } => Some(*queue),
                _ => None,
            };
            self.left.extend(cut.iter().filter_map(leaves));
            return;
        }
        let stream = |change: &Change| match change {
            Change::Stream { queue, .. } => Some(*queue),
            _ => None,
        };
        let streams: BTreeSet<QueueId> = cut.iter().filter_map(stream).collect();
        let makes_room = |change: &&Change| match change {
            Change::DeleteExchange { .. } | Change::Unbind(_) => true,
            Change::Settle { queue, .. } => !streams.contains(queue),
            Change::DeleteQueue(id) => !self.left.contains(id),
            _ => false,
        };
        self.changes.extend(cut.iter().filter(makes_room).cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What is to go ahead now.
    pub(super) fn begin_to_go(&mut self) -> Vec<Change> {
        self.under_way = true;
        self.changes.clone()
    }

    /// Whether it was tried, and [`Relief::done`] was not said.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// None of it is on disk.
    pub(super) fn stays(&mut self) {
        self.under_way = false;
    }

    /// All of it is on disk.
    pub(super) fn done(&mut self) {
        (self.changes, self.under_way) = (Vec::new(), false);
    }
}

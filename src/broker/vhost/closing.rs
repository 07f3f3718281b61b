//! How a vhost goes: with all that is in it, and at once for all who look. What is left in a large
//! one goes in parts: see `broker/vhosts`.

use super::context::Counts;
use super::{VHost, gone};
use crate::arguments::QueueType;
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::blocking;
use crate::error::BrokerError;
use crate::ids::Ticket;
use crate::routing::topology::{Removal, Topology};
use crate::store::change::Change;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Queues or exchanges that are removed under one lock.
const CLEARED_AT_ONCE: usize = 64;

/// No more of them are once there are so many changes, of bindings above all.
const CHANGES_AT_ONCE: usize = 512;

/// Queues, exchanges and bindings that are deleted in one commit: some milliseconds' work for the
/// commit thread.
const CLEARED_AS_ONE: usize = 512;

/// Bytes of them.
const CLEARED_BYTES: usize = 256 * 1024;

/// What is left in a vhost that is deleted.
pub(super) struct Left {
    queues: Vec<Arc<str>>,
    exchanges: Vec<Arc<str>>,
    removals: Vec<Removal>,
}

impl Left {
    /// All that is in it. Nothing comes to that any more.
    fn of(topology: &Topology) -> Self {
        let (queues, exchanges) = topology.names();
        Self { queues, exchanges, removals: topology.any_removal().into_iter().collect() }
    }

    fn is_nothing(&self) -> bool {
        self.queues.is_empty() && self.exchanges.is_empty() && self.removals.is_empty()
    }

    /// Removes a part of it.
    fn remove_some(&mut self, topology: &mut Topology, changes: &mut Vec<Change>) {
        if let Some(removal) = self.removals.pop() {
            self.removals.extend(topology.go_on(removal, changes));
            return;
        }
        let before = changes.len();
        for _thing in 0..CLEARED_AT_ONCE {
            let removal = if let Some(name) = self.queues.pop() {
                if let Some(queue) = topology.queue(&name) {
                    let _unconditional = queue.close(false, false);
                }
                topology.remove_queue(&name, changes)
            } else if let Some(name) = self.exchanges.pop() {
                topology.remove_exchange(&name, changes)
            } else {
                return;
            };
            self.removals.extend(removal);
            if changes.len() - before >= CHANGES_AT_ONCE {
                return;
            }
        }
    }
}

impl VHost {
    /// Whether it was deleted. Who has it still is to let it go.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Whether it is still there, for who wants to do something in it.
    ///
    /// # Errors
    /// [`BrokerError::VHostDeleted`].
    pub fn check(&self) -> Result<(), BrokerError> {
        if self.is_deleted() { Err(gone(&self.name)) } else { Ok(()) }
    }

    /// From now on nobody enters it, and nothing can be declared in it. Whether so little is in it
    /// that [`Self::clear`] may delete it as one; what is more goes by [`Self::sweep`].
    pub(in crate::broker) fn shut(&self) -> bool {
        self.deleted.store(true, Ordering::Release);
        let Ok((counts, _ticket)) = self.objects.change(|state, _changes| {
            state.closed = true;
            Ok::<_, Infallible>((Counts::of(&state.topology), false))
        });
        let things = counts.queues + counts.exchanges + counts.bindings;
        things <= CLEARED_AS_ONE && counts.defined.durable <= CLEARED_BYTES
    }

    /// Deletes all that is in it, after [`Self::shut`]. What is returned is to be appended to the
    /// log as one unit: it may be long, and an atomic batch is not held while it is gathered.
    pub(in crate::broker) fn clear(&self) -> Vec<Change> {
        blocking::run(|| {
            let (mut left, mut gathered) = (Left::of(&self.objects.read().topology), Vec::new());
            while !left.is_nothing() {
                self.objects.let_in();
                let Ok(((), _ticket)) = self.objects.change(|state, _appended_later| {
                    left.remove_some(&mut state.topology, &mut gathered);
                    Ok::<_, Infallible>(((), false))
                });
            }
            gathered
        })
    }

    /// Deletes a part of what is left in it after [`Self::shut`], once there is room in the log;
    /// whether there is more.
    pub(in crate::broker) fn sweep(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left.get_or_insert_with(|| Left::of(&self.objects.read().topology));
        if left.is_nothing() {
            return false;
        }
        self.objects.context.log.wait_for_room();
        self.objects.let_in();
        let Ok((more, _ticket)) = self.objects.change(|state, changes| {
            left.remove_some(&mut state.topology, changes);
            // Somebody else may have begun one before it was shut, and does not go on.
            left.removals.extend(if left.is_nothing() { state.topology.any_removal() } else { None });
            Ok::<_, Infallible>((!left.is_nothing(), false))
        });
        more
    }

    /// Removes a part of what a removal has left; whether there is more.
    pub(in crate::broker) fn go_on_removing(&self, removal: Removal) -> bool {
        self.objects.remove_part(removal).0.is_some()
    }

    /// As [`VHost::shut`] and [`VHost::clear`], appended.
    pub(in crate::broker) fn close(&self) -> Ticket {
        let _is_little = self.shut();
        self.append_cleared(self.clear())
    }

    /// Appends what [`VHost::clear`] returned.
    pub(in crate::broker) fn append_cleared(&self, mut changes: Vec<Change>) -> Ticket {
        self.objects.append(&mut changes)
    }

    /// Goes by what the operator wants from now on. What is there stays.
    pub(in crate::broker) fn configure(&self, record: &VHostRecord) {
        let VHostLimits { connections_max, queues_max } = record.limits;
        self.connections.set_max(connections_max.map_or(u64::MAX, u64::from));
        let Ok(((), _ticket)) = self.objects.change(|state, _changes| {
            state.queues_max = queues_max;
            state.default_kind =
                record.default_queue_type.as_deref().map_or(QueueType::Classic, QueueType::named);
            Ok::<_, Infallible>(((), false))
        });
    }
}

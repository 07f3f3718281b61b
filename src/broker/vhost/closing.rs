//! How a vhost goes: with all that is in it, and at once for all who look.

use super::{VHost, gone};
use crate::arguments::QueueType;
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::blocking;
use crate::error::BrokerError;
use crate::ids::Ticket;
use crate::routing::topology::{Removal, Topology};
use crate::store::change::Change;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Queues or exchanges that are removed under one lock.
const CLEARED_AT_ONCE: usize = 64;

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

    /// From now on nobody enters it. What is in it goes by [`VHost::close`].
    pub(in crate::broker) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Deletes all that is in it, and refuses whatever is to be declared later. What is returned is
    /// to be appended to the log as one unit: it may be long, and an atomic batch is not held while
    /// it is gathered.
    pub(in crate::broker) fn clear(&self) -> Vec<Change> {
        self.mark_deleted();
        blocking::run(|| {
            let mut gathered = Vec::new();
            let Ok(((queues, exchanges), _ticket)) = self.objects.change(|state, _changes| {
                state.closed = true;
                Ok::<_, Infallible>((state.topology.names(), false))
            });
            let remove_queue = |topology: &mut Topology, name: &str, changes: &mut Vec<Change>| {
                if let Some(queue) = topology.queue(name) {
                    let _unconditional = queue.close(false, false);
                }
                topology.remove_queue(name, changes)
            };
            self.clear_all(&queues, remove_queue, &mut gathered);
            self.clear_all(&exchanges, Topology::remove_exchange, &mut gathered);
            gathered
        })
    }

    /// Removes what has these names, a part at a time, with others between two parts.
    fn clear_all(
        &self,
        names: &[Arc<str>],
        remove: impl Fn(&mut Topology, &str, &mut Vec<Change>) -> Option<Removal>,
        gathered: &mut Vec<Change>,
    ) {
        for names in names.chunks(CLEARED_AT_ONCE) {
            self.objects.let_in();
            let Ok((mut removals, _ticket)) = self.objects.change(|state, _appended_later| {
                let removals = names.iter().filter_map(|name| remove(&mut state.topology, name, gathered));
                Ok::<_, Infallible>((removals.collect::<Vec<_>>(), false))
            });
            while let Some(removal) = removals.pop() {
                self.objects.let_in();
                let Ok((more, _ticket)) = self.objects.change(|state, _appended_later| {
                    Ok::<_, Infallible>((state.topology.go_on(removal, gathered), false))
                });
                removals.extend(more);
            }
        }
    }

    /// As [`VHost::clear`], appended.
    pub(in crate::broker) fn close(&self) -> Ticket {
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

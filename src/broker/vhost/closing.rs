//! How a vhost goes: with all that is in it, and at once for all who look.

use super::{QueueType, VHost, append, gone};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::blocking;
use crate::error::AmqpError;
use crate::ids::Ticket;
use crate::store::change::Change;
use std::convert::Infallible;
use std::sync::atomic::Ordering;

impl VHost {
    /// Whether it was deleted. Who has it still is to let it go.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Whether it is still there, for who wants to do something in it.
    ///
    /// # Errors
    /// 320, as its connections are told.
    pub fn check(&self) -> Result<(), AmqpError> {
        if self.is_deleted() { Err(gone(&self.name)) } else { Ok(()) }
    }

    /// From now on nobody enters it. What is in it goes by [`VHost::close`].
    pub(in crate::broker) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Deletes all that is in it, and refuses whatever is to be declared later. What is returned is to be appended to the log as
    /// one unit: it may be long, and an atomic batch is not held while it is gathered.
    pub(in crate::broker) fn clear(&self) -> Vec<Change> {
        self.mark_deleted();
        blocking::run(|| {
            let Ok((changes, _nothing_appended)) = self.change(|state, _changes| {
                let mut changes = Vec::new();
                state.closed = true;
                state.topology.clear(&mut changes);
                Ok::<_, Infallible>((changes, false))
            });
            changes
        })
    }

    /// As [`VHost::clear`], appended.
    pub(in crate::broker) fn close(&self) -> Ticket {
        self.append_cleared(self.clear())
    }

    /// Appends what [`VHost::clear`] returned.
    pub(in crate::broker) fn append_cleared(&self, mut changes: Vec<Change>) -> Ticket {
        append(&self.shared, &mut changes).unwrap_or_default()
    }

    /// Goes by what the operator wants from now on. What is there stays.
    pub(in crate::broker) fn configure(&self, record: &VHostRecord) {
        let VHostLimits { connections_max, queues_max } = record.limits;
        self.connections.set_max(connections_max.map_or(u64::MAX, u64::from));
        let Ok(((), _ticket)) = self.change(|state, _changes| {
            state.queues_max = queues_max;
            state.default_kind =
                record.default_queue_type.as_deref().map_or(QueueType::Classic, QueueType::named);
            Ok::<_, Infallible>(((), false))
        });
    }
}

//! How a vhost goes: with all that is in it, and at once for all who look.

use super::{Kind, VHost, gone};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::error::AmqpError;
use crate::ids::Ticket;
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

    /// Deletes all that is in it, as one unit, and refuses whatever is to be declared later.
    pub(in crate::broker) fn close(&self) -> Ticket {
        self.mark_deleted();
        let Ok(((), ticket)) = self.change(|state, changes| {
            state.closed = true;
            state.topology.clear(changes);
            Ok::<_, Infallible>(((), true))
        });
        ticket
    }

    /// Goes by what the operator wants from now on. What is there stays.
    pub(in crate::broker) fn follow(&self, record: &VHostRecord) {
        let VHostLimits { connections_max, queues_max } = record.limits;
        self.connections.set_max(connections_max.map_or(u64::MAX, u64::from));
        let Ok(((), _ticket)) = self.change(|state, _changes| {
            state.queues_max = queues_max;
            state.default_kind = record.default_queue_type.as_deref().map_or(Kind::Classic, Kind::named);
            Ok::<_, Infallible>(((), false))
        });
    }
}

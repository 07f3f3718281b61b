//! How much there may be in a vhost, and in all of them, and that there is room for it. What exists
//! is declared again, and bound again, whatever the limits are.

use super::context::BrokerContext;
use super::objects::State;
use super::{Bind, gone};
use crate::arguments::exchange_type::ExchangeType;
use crate::error::{BrokerError, Resource};
use crate::message::table::FieldTable;
use crate::routing::exchange::topic::hashes;
use crate::routing::topology::{Defined, encoded};
use std::fmt::Display;
use std::sync::Arc;

impl BrokerContext {
    /// Whether there may be one more queue, durable or not, with these arguments.
    ///
    /// # Errors
    /// There are as many as there may be, in all vhosts or in this one, or there is no room for it.
    pub(super) fn check_new_queue(
        &self,
        state: &State,
        on: &Resource,
        (arguments, durable): (&FieldTable, bool),
    ) -> Result<(), BrokerError> {
        check_open(state, on)?;
        self.check_room("declare", on, || Defined::named(&on.name, arguments, durable))?;
        let max = self.limits.get().queues_max;
        if self.counts().queues >= max as usize {
            return Err(BrokerError::QueueLimit { queue: on.name.clone(), max });
        }
        if let Some(max) = state.queues_max
            && state.topology.client_queue_count() >= max as usize
        {
            return Err(BrokerError::VHostQueueLimit { queue: on.clone(), max });
        }
        self.check_arguments(on, arguments)
    }

    /// Whether there may be one more exchange, durable or not, with these arguments.
    ///
    /// # Errors
    /// There are as many as there may be, or there is no room for it.
    pub(super) fn check_new_exchange(
        &self,
        state: &State,
        on: &Resource,
        (arguments, durable): (&FieldTable, bool),
    ) -> Result<(), BrokerError> {
        check_open(state, on)?;
        self.check_room("declare", on, || Defined::named(&on.name, arguments, durable))?;
        let max = self.limits.get().exchanges_max;
        if self.counts().exchanges >= max as usize {
            return Err(BrokerError::ExchangeLimit { exchange: on.clone(), max });
        }
        self.check_arguments(on, arguments)
    }

    /// Whether there may be one more binding.
    ///
    /// # Errors
    /// There are as many as there may be, or its key has too many wildcards.
    pub(super) fn check_new_binding(
        &self,
        vhost: &Arc<str>,
        kind: ExchangeType,
        bind: &Bind,
    ) -> Result<(), BrokerError> {
        let on = Resource::exchange(vhost, &bind.source);
        let max = self.limits.get().bindings_max;
        if self.counts().bindings >= max as usize {
            return Err(BrokerError::BindingLimit { exchange: on, max });
        }
        let max = self.limits.get().topic_hashes_max;
        let count = if kind == ExchangeType::Topic { hashes(&bind.routing_key) } else { 0 };
        if count > max as usize {
            let key = String::from_utf8_lossy(&bind.routing_key).into_owned();
            return Err(BrokerError::TooManyWildcards { key, count, max });
        }
        self.check_arguments(&on, &bind.arguments)
    }

    /// Whether one more binding has room, both of whose ends are durable or not.
    ///
    /// # Errors
    /// [`BrokerError::Scarce`].
    pub(super) fn check_room_to_bind(
        &self,
        vhost: &Arc<str>,
        bind: &Bind,
        durable: bool,
    ) -> Result<(), BrokerError> {
        let on = Resource::exchange(vhost, &bind.source);
        self.check_room("bind to", &on, || bind.defined(durable))
    }

    /// Whether there is room for so much more.
    pub(super) fn check_room(
        &self,
        verb: &'static str,
        on: &Resource,
        more: impl Fn() -> Defined,
    ) -> Result<(), BrokerError> {
        let scarce = |what| BrokerError::Scarce { verb, on: on.clone(), what };
        self.scarcity.admit(self.defined(), more).map_err(scarce)
    }

    /// Tells the log of arguments that do nothing and are nearly called like one that does
    /// something, of each name once.
    pub(super) fn tell_of_misnamed(&self, on: &dyn Display, arguments: &FieldTable) {
        self.misnamed.look_at(on, arguments);
    }

    /// Whether these arguments are not too many.
    ///
    /// # Errors
    /// [`BrokerError::ArgumentsTooLong`].
    pub(super) fn check_arguments(&self, on: &Resource, arguments: &FieldTable) -> Result<(), BrokerError> {
        if arguments.is_empty() {
            return Ok(());
        }
        let max = self.limits.get().arguments_bytes_max;
        let bytes = encoded(arguments).len();
        if bytes > max as usize {
            return Err(BrokerError::ArgumentsTooLong { on: on.clone(), bytes, max });
        }
        Ok(())
    }
}

/// Whether the vhost is still there; its connections are about to learn that it is not.
///
/// # Errors
/// [`BrokerError::VHostDeleted`].
fn check_open(state: &State, on: &Resource) -> Result<(), BrokerError> {
    if state.closed { Err(gone(&on.vhost)) } else { Ok(()) }
}

//! How much there may be in a vhost. What exists is declared again, and bound again, whatever the limits are.

use super::{Bind, State, VHost};
use crate::broker::exchange::Kind;
use crate::broker::exchange::topic::hashes;
use crate::broker::topology::{VHOST, encoded};
use crate::config::Limits;
use crate::error::{AmqpError, Resource};
use amq_protocol::types::FieldTable;

impl VHost {
    /// The same with limits to what clients may declare.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Whether there may be one more queue, with these arguments.
    ///
    /// # Errors
    /// 406.
    pub(super) fn check_new_queue(
        &self,
        state: &State,
        name: &str,
        arguments: &FieldTable,
    ) -> Result<(), AmqpError> {
        let (on, max) = (Resource::Queue(name.to_owned()), self.limits.queues_max);
        if state.topology.queue_count() >= max as usize {
            let why =
                format!("cannot declare queue '{name}': queue limit in vhost '{VHOST}' ({max}) is reached");
            return Err(AmqpError::Precondition(why));
        }
        self.check_arguments(&on, arguments)
    }

    /// Whether there may be one more exchange, with these arguments.
    ///
    /// # Errors
    /// 406.
    pub(super) fn check_new_exchange(
        &self,
        state: &State,
        name: &str,
        arguments: &FieldTable,
    ) -> Result<(), AmqpError> {
        let (on, max) = (Resource::Exchange(name.to_owned()), self.limits.exchanges_max);
        if state.topology.exchange_count() >= max as usize {
            let why = format!("cannot declare {on}: exchange limit of {max} is reached");
            return Err(AmqpError::Precondition(why));
        }
        self.check_arguments(&on, arguments)
    }

    /// Whether there may be one more binding.
    ///
    /// # Errors
    /// 406.
    pub(super) fn check_new_binding(&self, state: &State, kind: Kind, bind: &Bind) -> Result<(), AmqpError> {
        let on = Resource::Exchange(bind.source.clone());
        let max = self.limits.bindings_max;
        if state.topology.binding_count() >= max as usize {
            return Err(AmqpError::Precondition(format!(
                "cannot bind to {on}: binding limit of {max} is reached"
            )));
        }
        let max = self.limits.topic_hashes_max;
        let count = if kind == Kind::Topic { hashes(&bind.routing_key) } else { 0 };
        if count > max as usize {
            return Err(AmqpError::Precondition(format!(
                "cannot bind to {on}: the binding key has {count} words '#', more than {max}"
            )));
        }
        self.check_arguments(&on, &bind.arguments)
    }

    fn check_arguments(&self, on: &Resource, arguments: &FieldTable) -> Result<(), AmqpError> {
        let max = self.limits.arguments_bytes_max;
        if arguments.inner().is_empty() {
            return Ok(());
        }
        let size = encoded(arguments).len();
        if size > max as usize {
            let why = format!("arguments for {on} have {size} bytes, more than {max}");
            return Err(AmqpError::Precondition(why));
        }
        Ok(())
    }
}

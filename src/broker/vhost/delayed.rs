//! Exchanges that delay messages: what their declaration asks for, and the queue that keeps what
//! waits.

use super::objects::{Objects, State};
use crate::arguments::exchange_type::DELAYED_MESSAGE;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::table::delayed_type;
use crate::arguments::{QueueFlags, Settings};
use crate::error::{BrokerError, Resource};
use crate::message::table::FieldTable;
use crate::queue::Queue;
use crate::queue::delayed::{exchange_of, queue_name};
use crate::store::change::Change;
use std::sync::Arc;

/// By what an exchange of this type routes, and whether it delays messages.
///
/// # Errors
/// There is no such type, or it delays without saying how it routes.
pub(super) fn kind_of(name: &str, arguments: &FieldTable) -> Result<(ExchangeType, bool), BrokerError> {
    if name != DELAYED_MESSAGE {
        return Ok((ExchangeType::named(name)?, false));
    }
    Ok((delayed_type(arguments)?, true))
}

/// Refuses what clients may not do to a queue of delayed messages: it goes with its exchange, and
/// nothing enters it by the way.
///
/// # Errors
/// [`BrokerError::DelayQueue`].
pub(super) fn check_not_delay_queue(vhost: &Arc<str>, name: &str) -> Result<(), BrokerError> {
    match exchange_of(name) {
        None => Ok(()),
        Some(exchange) => Err(BrokerError::DelayQueue {
            queue: Resource::queue(vhost, name),
            exchange: Resource::exchange(vhost, exchange),
        }),
    }
}

/// A queue for the delayed messages of a new exchange.
pub(super) fn open_delay_queue(
    objects: &Objects,
    state: &mut State,
    changes: &mut Vec<Change>,
    (exchange, durable): (&str, bool),
) -> Arc<Queue> {
    objects.create(state, changes, queue_name(exchange), delay_settings(durable), None)
}

/// The settings of a queue that keeps delayed messages.
pub(super) fn delay_settings(durable: bool) -> Settings {
    let flags = QueueFlags { durable, auto_delete: false, exclusive: false };
    Settings { delays: true, ..Settings::new(flags, FieldTable::default()) }
}

//! Which names clients may use, and how they are taken.

use crate::error::{BrokerError, ResourceKind};

/// What names of the broker's own begin with.
pub(super) const RESERVED: &str = "amq.";

/// Names without line ends, as RabbitMQ takes them.
pub(super) fn clean(mut name: String) -> String {
    name.retain(|character| !matches!(character, '\r' | '\n'));
    name
}

/// Bytes of a name, at most: no client could say a longer one.
const NAME_MAX: usize = 255;

/// Refuses what no client could name.
pub(super) fn check_length(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    if name.len() > NAME_MAX {
        let start = name.chars().take(20).collect();
        return Err(BrokerError::NameTooLong { kind, start, bytes: name.len(), max: NAME_MAX });
    }
    Ok(())
}

pub(super) fn check_reserved(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    if name.starts_with(RESERVED) {
        return Err(BrokerError::ReservedName { kind, name: name.to_owned() });
    }
    Ok(())
}

pub(super) fn check_not_default(exchange: &str) -> Result<(), BrokerError> {
    if exchange.is_empty() {
        return Err(BrokerError::DefaultExchange);
    }
    Ok(())
}

//! Which names clients may use, and how they are taken.

use crate::error::AmqpError;

/// What names of the broker's own begin with.
pub(super) const RESERVED: &str = "amq.";

/// Names without line ends, as RabbitMQ takes them.
pub(super) fn clean(mut name: String) -> String {
    name.retain(|character| !matches!(character, '\r' | '\n'));
    name
}

/// Refuses what no client could name: the protocol's names have 255 bytes.
pub(super) fn check_length(what: &str, name: &str) -> Result<(), AmqpError> {
    if name.len() > usize::from(u8::MAX) {
        let start: String = name.chars().take(20).collect();
        let why = format!("the {what} name '{start}...' has {} bytes: 255 at most", name.len());
        return Err(AmqpError::AccessRefused(why));
    }
    Ok(())
}

pub(super) fn check_reserved(what: &str, name: &str) -> Result<(), AmqpError> {
    if name.starts_with(RESERVED) {
        let why = format!("{what} name '{name}' contains reserved prefix 'amq.*'");
        return Err(AmqpError::AccessRefused(why));
    }
    Ok(())
}

pub(super) fn check_not_default(exchange: &str) -> Result<(), AmqpError> {
    if exchange.is_empty() {
        return Err(AmqpError::AccessRefused("operation not permitted on the default exchange".to_owned()));
    }
    Ok(())
}

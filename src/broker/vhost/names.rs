//! Which names clients may use, and how they are taken.

use crate::error::AmqpError;

/// What names of the broker's own begin with.
pub(super) const RESERVED: &str = "amq.";

/// Names without line ends, as RabbitMQ takes them.
pub(super) fn clean(mut name: String) -> String {
    name.retain(|character| !matches!(character, '\r' | '\n'));
    name
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

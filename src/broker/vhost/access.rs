//! What users may do in a vhost.

use super::{Bind, Destination, Resource, VHost};
use crate::arguments::table::{ALTERNATE_EXCHANGE, DEAD_LETTER_EXCHANGE, string};
use crate::auth::permission::{Grants, Right};
use crate::error::BrokerError;
use crate::message::table::FieldTable;

/// Whether something may be declared: its name, and the arguments of what is not there yet. Asked
/// under the vhost's lock.
pub type May<'a> = &'a dyn Fn(&Resource, Option<&FieldTable>) -> Result<(), BrokerError>;

/// Everything may be declared.
///
/// # Errors
/// None.
pub fn anything(_on: &Resource, _new: Option<&FieldTable>) -> Result<(), BrokerError> {
    Ok(())
}

/// Whether somebody may declare a queue. Of a new one with a dead-letter exchange, which messages
/// leave for there, they must be able to read from the queue and write to the exchange.
///
/// # Errors
/// The right that they lack.
pub fn may_declare_queue(
    grants: &Grants,
    on: &Resource,
    new: Option<&FieldTable>,
) -> Result<(), BrokerError> {
    may_declare(grants, on, new.and_then(|new| string(new, DEAD_LETTER_EXCHANGE)))
}

/// Whether somebody may declare an exchange; of a new one with an alternate exchange as
/// [`may_declare_queue`].
///
/// # Errors
/// The right that they lack.
pub fn may_declare_exchange(
    grants: &Grants,
    on: &Resource,
    new: Option<&FieldTable>,
) -> Result<(), BrokerError> {
    may_declare(grants, on, new.and_then(|new| string(new, ALTERNATE_EXCHANGE)))
}

/// Whether somebody may ask for a queue or an exchange without making it: who may do anything with
/// it may.
///
/// # Errors
/// The right that they lack.
pub fn may_ask(grants: &Grants, on: &Resource) -> Result<(), BrokerError> {
    let may = |right| grants.check(right, on).is_ok();
    if may(Right::Write) || may(Right::Read) { Ok(()) } else { grants.check(Right::Configure, on) }
}

fn may_declare(grants: &Grants, on: &Resource, leads_to: Option<String>) -> Result<(), BrokerError> {
    grants.check(Right::Configure, on)?;
    let Some(target) = leads_to else { return Ok(()) };
    grants.check(Right::Read, on)?;
    grants.check(Right::Write, &Resource::exchange(&on.vhost, &target))
}

/// Whether somebody may bind like this in a vhost, or unbind: write to what receives, read from
/// what routes, and from a topic exchange with that key.
///
/// # Errors
/// The right that they lack.
pub fn may_bind(grants: &Grants, vhost: &VHost, bind: &Bind) -> Result<(), BrokerError> {
    let destination = match &bind.destination {
        Destination::Queue(name) => vhost.on_queue(name),
        Destination::Exchange(name) => vhost.on_exchange(name),
    };
    grants.check(Right::Write, &destination)?;
    if bind.source.is_empty() {
        // Nobody may, which is said elsewhere.
        return Ok(());
    }
    grants.check(Right::Read, &vhost.on_exchange(&bind.source))?;
    may_use_keys(grants, vhost, Right::Read, bind.source.as_bytes(), &[&bind.routing_key])
}

/// Whether somebody may use these keys with an exchange of a vhost: always, unless it is a topic
/// exchange.
///
/// # Errors
/// The right that they lack.
pub fn may_use_keys(
    grants: &Grants,
    vhost: &VHost,
    right: Right,
    exchange: &[u8],
    keys: &[&[u8]],
) -> Result<(), BrokerError> {
    if !grants.limits_keys_of(exchange) {
        return Ok(());
    }
    let name = String::from_utf8_lossy(exchange);
    if !vhost.is_topic_exchange(&name) {
        return Ok(());
    }
    let on = vhost.on_exchange(&name);
    keys.iter().try_for_each(|key| grants.check_key(right, &on, key))
}

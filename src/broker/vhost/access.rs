//! What permissions need to know of a vhost, and what a vhost needs to know of permissions.

use super::{Bind, Destination, Resource, VHost};
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::table::{ALTERNATE_EXCHANGE, DEAD_LETTER_EXCHANGE, string};
use crate::auth::permission::{Grants, Right};
use crate::error::BrokerError;
use crate::message::table::FieldTable;
use std::convert::Infallible;

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

impl VHost {
    /// What texts call a queue of this name here.
    #[must_use]
    pub fn on_queue(&self, name: &str) -> Resource {
        Resource::queue(&self.name, name)
    }

    /// What texts call an exchange of this name here.
    #[must_use]
    pub fn on_exchange(&self, name: &str) -> Resource {
        Resource::exchange(&self.name, name)
    }

    /// Makes every route that was found before be looked for again, because somebody may do more or
    /// less than before.
    pub fn renew_routes(&self) {
        let Ok(((), _ticket)) = self.change(|state, _changes| {
            state.topology.renew();
            Ok::<_, Infallible>(((), false))
        });
    }

    /// Whether somebody may bind like this, or unbind: write to what receives, read from what
    /// routes, and from a topic exchange with that key.
    ///
    /// # Errors
    /// The right that they lack.
    pub fn check_bind(&self, grants: &Grants, bind: &Bind) -> Result<(), BrokerError> {
        let destination = match &bind.destination {
            Destination::Queue(name) => self.on_queue(name),
            Destination::Exchange(name) => self.on_exchange(name),
        };
        grants.check(Right::Write, &destination)?;
        if bind.source.is_empty() {
            // Nobody may, which is said elsewhere.
            return Ok(());
        }
        grants.check(Right::Read, &self.on_exchange(&bind.source))?;
        self.check_keys(grants, Right::Read, bind.source.as_bytes(), &[&bind.routing_key])
    }

    /// Whether somebody may use these keys with an exchange: always, unless it is a topic exchange.
    ///
    /// # Errors
    /// The right that they lack.
    pub fn check_keys(
        &self,
        grants: &Grants,
        right: Right,
        exchange: &[u8],
        keys: &[&[u8]],
    ) -> Result<(), BrokerError> {
        if !grants.limits_keys_of(exchange) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(exchange);
        let is_topic = {
            let state = self.read();
            state.topology.exchange(&name).is_some_and(|found| found.declared.kind == ExchangeType::Topic)
        };
        if !is_topic {
            return Ok(());
        }
        let on = self.on_exchange(&name);
        keys.iter().try_for_each(|key| grants.check_key(right, &on, key))
    }
}

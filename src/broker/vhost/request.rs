//! What clients ask of a vhost, as values.

use super::access::May;
use super::delayed::check_not_delay_queue;
use super::names::{check_not_default, clean};
use crate::arguments::check_alternate_exchange;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::table::Subject;
use crate::clock::Now;
use crate::error::{BrokerError, Resource};
use crate::ids::ConnectionId;
use crate::message::table::FieldTable;
use crate::queue::reply::is_reply_queue;
use crate::routing::topology::{Binding, Declared, Defined, Target, Topology, encoded};
use std::sync::Arc;

/// `queue.declare`.
#[derive(Debug, Clone)]
pub struct QueueDeclare {
    /// The name; empty for one that the broker makes up.
    pub name: String,
    /// Only ask whether it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// For this connection alone.
    pub exclusive: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// Arguments.
    pub arguments: FieldTable,
    /// Who asks.
    pub connection: ConnectionId,
    /// The time of the request.
    pub now: Now,
}

/// `exchange.declare`.
#[derive(Debug, Clone)]
pub struct ExchangeDeclare {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: String,
    /// Only ask whether it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted when the last binding from it goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Arguments.
    pub arguments: FieldTable,
}

impl ExchangeDeclare {
    /// Whether the arguments of a new exchange have values that they may have, and `may` lets it be
    /// declared with them.
    ///
    /// # Errors
    /// The first argument that has not, and what `may` says.
    pub(super) fn check_values(
        &self,
        on: &Resource,
        (kind, delays): (ExchangeType, bool),
        may: May<'_>,
    ) -> Result<(), BrokerError> {
        // By this one it is decided what somebody may.
        check_alternate_exchange(on, &self.arguments)?;
        may(on, Some(&self.arguments))?;
        Subject::Exchange { kind, delays }.check_values(on, &self.arguments)
    }

    /// The exchange under its clean name, of the type by which it routes; not yet with the queue
    /// in which it delays.
    pub(super) fn declared(&self, name: &str, kind: ExchangeType) -> Declared {
        Declared {
            name: name.into(),
            kind,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            delay: None,
            arguments: self.arguments.clone(),
        }
    }
}

/// The end of a binding that receives, by name.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A queue.
    Queue(String),
    /// An exchange.
    Exchange(String),
}

/// `queue.bind`, `queue.unbind`, `exchange.bind`, `exchange.unbind`.
#[derive(Debug, Clone)]
pub struct Bind {
    /// The exchange that routes.
    pub source: String,
    /// The queue or exchange that receives.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: Vec<u8>,
    /// Arguments.
    pub arguments: FieldTable,
}

impl Bind {
    /// The same with clean names.
    ///
    /// # Errors
    /// Nobody may bind that.
    pub(super) fn clean(self, vhost: &Arc<str>) -> Result<Self, BrokerError> {
        let source = clean(self.source);
        if let Destination::Queue(name) = &self.destination
            && is_reply_queue(name)
        {
            return Err(BrokerError::ReplyQueueBinding);
        }
        check_not_default(&source)?;
        if let Destination::Queue(name) = &self.destination {
            check_not_delay_queue(vhost, name)?;
        }
        let destination = match self.destination {
            Destination::Queue(name) => Destination::Queue(clean(name)),
            Destination::Exchange(name) => {
                let name = clean(name);
                check_not_default(&name)?;
                Destination::Exchange(name)
            }
        };
        Ok(Self { source, destination, ..self })
    }

    /// What its destination names, if that is there.
    pub(super) fn target(&self, topology: &Topology) -> Option<Target> {
        match &self.destination {
            Destination::Queue(name) => topology.queue(name).cloned().map(Target::Queue),
            Destination::Exchange(name) => {
                topology.exchange(name).map(|found| Target::Exchange(Arc::clone(&found.declared)))
            }
        }
    }

    /// How much it is, if both ends are durable or not.
    pub(super) fn defined(&self, durable: bool) -> Defined {
        Defined::of(self.routing_key.len() + encoded(&self.arguments).len(), durable)
    }

    /// The binding to what its destination names.
    pub(super) fn to(&self, target: Target) -> Binding {
        let key = self.routing_key.as_slice().into();
        Binding { target, key, arguments: encoded(&self.arguments).into() }
    }
}

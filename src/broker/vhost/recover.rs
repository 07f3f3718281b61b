//! A vhost from what was on disk.

use super::delayed::{delay_settings, kind_of};
use super::{State, VHost, alternate, append};
use crate::broker::delayed::{exchange_of, queue_name};
use crate::broker::queue::{Queue, Shared};
use crate::broker::settings::{Flags, Settings};
use crate::broker::topology::{Binding, Declared, Target, Topology, VHOST};
use crate::config::Limits;
use crate::error::AmqpError;
use crate::store::change::{BindingRecord, Change, ExchangeRecord, Recovered};
use crate::store::seen::{SeenBy, SeenRecord};
use crate::wire::table;
use amq_protocol::types::FieldTable;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

impl VHost {
    /// What was on disk. Bindings without both of their ends are dropped, from disk as well.
    #[must_use]
    pub fn recover(recovered: &Recovered, shared: Shared) -> Self {
        let mut topology = Topology::default();
        for queue in &recovered.queues {
            let flags = Flags { durable: true, auto_delete: queue.record.auto_delete, exclusive: false };
            let settings = match exchange_of(&queue.record.name) {
                Some(_) => delay_settings(true),
                None => Settings::new(flags, decoded(&queue.record.arguments)),
            };
            topology.restore_queue(Queue::recover(queue, settings, recovered.clean, &shared));
        }
        for record in &recovered.exchanges {
            match declared(&topology, record) {
                Ok(declared) => topology.restore_exchange(declared),
                Err(fault) => {
                    tracing::error!(exchange = record.name, %fault, "cannot bring an exchange back")
                }
            }
        }
        let mut changes = Vec::new();
        for record in &recovered.bindings {
            match binding_of(&topology, record) {
                // The change that this makes is on disk already.
                Some(binding) => topology.bind(&record.source, binding, &mut Vec::new()),
                None => changes.push(Change::Unbind(record.clone())),
            }
        }
        restore_seen(&topology, &recovered.seen, &mut changes);
        let ticket = append(&shared, &mut changes).unwrap_or_default();
        Self {
            epoch: AtomicU64::new(topology.revision()),
            next_queue: AtomicU64::new(recovered.next_queue),
            entropy: [RandomState::new(), RandomState::new()],
            state: RwLock::new(State { topology, ticket }),
            limits: Limits::default(),
            shared,
        }
    }
}

/// An exchange, whose queue of delayed messages, if it has one, is there.
fn declared(topology: &Topology, record: &ExchangeRecord) -> Result<Declared, AmqpError> {
    let arguments = decoded(&record.arguments);
    let (kind, delays) = kind_of(&record.kind, &arguments)?;
    let delay = match topology.queue(&queue_name(&record.name)) {
        Some(queue) if delays => Some(Arc::clone(queue)),
        None if delays => return Err(AmqpError::no_queue(&queue_name(&record.name))),
        Some(_) | None => None,
    };
    Ok(Declared {
        name: record.name.as_str().into(),
        kind,
        durable: true,
        auto_delete: record.auto_delete,
        internal: record.internal,
        alternate: alternate(&arguments),
        delay,
        arguments,
    })
}

/// Gives back what was seen, and drops it from disk where nobody is left to know it.
fn restore_seen(topology: &Topology, seen: &[SeenRecord], changes: &mut Vec<Change>) {
    if seen.is_empty() {
        return;
    }
    let queues: HashMap<_, _> = topology.queues().map(|queue| (queue.id, &queue.dedup)).collect();
    for of_one in seen.chunk_by(|one, other| one.by == other.by) {
        let Some(SeenRecord { by, .. }) = of_one.first() else { continue };
        let dedup = match by {
            SeenBy::Queue(id) => queues.get(id).copied(),
            SeenBy::Exchange { name, .. } => topology.exchange(name).map(|exchange| &exchange.dedup),
        };
        match dedup.and_then(Option::as_ref) {
            Some(dedup) => of_one.iter().for_each(|record| dedup.restore(record)),
            None => changes.push(Change::Forget(by.clone())),
        }
    }
}

/// A table that this broker wrote.
fn decoded(bytes: &[u8]) -> FieldTable {
    table::decode(bytes).unwrap_or_else(|fault| {
        tracing::error!(%fault, "stored arguments do not decode; going on without");
        FieldTable::default()
    })
}

/// A stored binding, if both ends are there.
fn binding_of(topology: &Topology, record: &BindingRecord) -> Option<Binding> {
    debug_assert_eq!(record.vhost, VHOST, "there is one vhost");
    topology.exchange(&record.source)?;
    let target = if record.to_exchange {
        Target::Exchange(Arc::clone(&topology.exchange(&record.destination)?.declared))
    } else {
        Target::Queue(Arc::clone(topology.queue(&record.destination)?))
    };
    let (key, arguments) = (record.routing_key.as_slice().into(), record.arguments.as_slice().into());
    Some(Binding { target, key, arguments })
}

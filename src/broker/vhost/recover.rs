//! Vhosts from what was on disk.

use super::delayed::{delay_settings, kind_of};
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::{QueueFlags, Settings};
use crate::config::Limits;
use crate::error::BrokerError;
use crate::message::table;
use crate::message::table::FieldTable;
use crate::queue::delayed::{exchange_of, queue_name};
use crate::queue::{Queue, QueueContext};
use crate::routing::exchange::topic::hashes;
use crate::routing::topology::{Binding, Declared, Exchange, Target, Topology};
use crate::store::change::{BindingRecord, Change, ExchangeRecord, Recovered, RecoveredQueue};
use crate::store::seen::{SeenBy, SeenRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What was on disk of one vhost.
#[derive(Debug, Default)]
pub struct RecoveredVHost<'a> {
    queues: Vec<&'a RecoveredQueue>,
    exchanges: Vec<&'a ExchangeRecord>,
    bindings: Vec<&'a BindingRecord>,
    /// What each queue and exchange has seen.
    seen: Vec<&'a [SeenRecord]>,
    /// Whether the last process stopped cleanly.
    clean: bool,
}

impl<'a> RecoveredVHost<'a> {
    /// What was on disk, by vhost; and whose vhost cannot be found, because what it is of is gone.
    #[must_use]
    pub fn all(recovered: &'a Recovered) -> (BTreeMap<&'a str, Self>, Vec<Change>) {
        let mut parts = BTreeMap::<&str, Self>::new();
        let mut of = |vhost: &'a str, add: &dyn Fn(&mut Self)| {
            let part = parts.entry(vhost).or_default();
            part.clean = recovered.clean;
            add(part);
        };
        recovered.queues.iter().for_each(|queue| of(&queue.record.vhost, &|part| part.queues.push(queue)));
        recovered.exchanges.iter().for_each(|record| of(&record.vhost, &|part| part.exchanges.push(record)));
        recovered.bindings.iter().for_each(|record| of(&record.vhost, &|part| part.bindings.push(record)));
        let mut orphans = Vec::new();
        if !recovered.seen.is_empty() {
            let queues = recovered.queues.iter().map(|queue| (queue.record.id, &*queue.record.vhost));
            let queues: HashMap<_, _> = queues.collect();
            for of_one in recovered.seen.chunk_by(|one, other| one.by == other.by) {
                let vhost = of_one.first().and_then(|first| match &first.by {
                    SeenBy::Queue(id) => queues.get(id).copied(),
                    SeenBy::Exchange { vhost, .. } => Some(vhost),
                });
                match vhost {
                    Some(vhost) => of(vhost, &|part| part.seen.push(of_one)),
                    None => orphans.extend(of_one.first().map(|first| Change::Forget(first.by.clone()))),
                }
            }
        }
        (parts, orphans)
    }
}

/// Brings back what was on disk: what is to be appended, because it was not in order there.
/// Bindings without both of their ends are dropped.
pub(super) fn restore(
    topology: &mut Topology,
    part: &RecoveredVHost<'_>,
    queue_context: &QueueContext,
    limits: &Limits,
) -> Vec<Change> {
    for queue in &part.queues {
        let flags = QueueFlags { durable: true, auto_delete: queue.record.auto_delete, exclusive: false };
        let settings = match exchange_of(&queue.record.name) {
            Some(_) => delay_settings(true),
            None => Settings::new(flags, decoded(&queue.record.arguments)),
        };
        topology.restore_queue(Queue::recover(queue, settings, part.clean, queue_context));
    }
    for record in &part.exchanges {
        match declared(topology, record) {
            Ok(declared) => topology.restore_exchange(declared),
            Err(fault) => {
                tracing::error!(exchange = record.name, %fault, "cannot recover an exchange")
            }
        }
    }
    let mut changes = Vec::new();
    for &record in &part.bindings {
        match binding_of(topology, record) {
            // The change that this makes is on disk already.
            Some(binding) => topology.bind(&record.source, binding, &mut Vec::new()),
            None => changes.push(Change::Unbind(record.clone())),
        }
    }
    // An auto-delete exchange whose last binding lost its end as the last process stopped would
    // have gone with it.
    let orphans: BTreeSet<&str> = changes.iter().filter_map(source_of).collect();
    let orphans: Vec<String> = orphans.into_iter().map(str::to_owned).collect();
    for source in orphans {
        if topology.exchange(&source).is_some_and(Exchange::is_bare) {
            let mut removal = topology.remove_exchange(&source, &mut changes);
            while let Some(more) = removal {
                removal = topology.go_on(more, &mut changes);
            }
        }
    }
    restore_seen(topology, &part.seen, &mut changes);
    tell_of_many_hashes(topology, limits.topic_hashes_max);
    changes
}

/// The source of a binding that was removed.
fn source_of(change: &Change) -> Option<&str> {
    if let Change::Unbind(record) = change { Some(&record.source) } else { None }
}

/// Logs how many topic bindings have more `#` than a new one may have. They stay: the limit may
/// have been higher, or unknown, when they were made.
fn tell_of_many_hashes(topology: &Topology, max: u32) {
    let vhost = &**topology.vhost();
    for exchange in topology.exchanges().filter(|exchange| exchange.declared.kind == ExchangeType::Topic) {
        let mut above = topology.bindings_of(exchange).filter(|binding| hashes(&binding.key) > max as usize);
        if let Some(first) = above.next() {
            let (name, key) = (&exchange.declared.name, String::from_utf8_lossy(&first.key));
            let bindings = 1 + above.count();
            tracing::warn!(vhost, exchange = %name, bindings, key = %key, limits.topic_hashes_max = max,
                "topic bindings have more '#' than limits.topic_hashes_max: they are kept");
        }
    }
}

/// An exchange, whose queue of delayed messages, if it has one, is there.
fn declared(topology: &Topology, record: &ExchangeRecord) -> Result<Declared, BrokerError> {
    let arguments = decoded(&record.arguments);
    let (kind, delays) = kind_of(&record.kind, &arguments)?;
    let delay = match topology.queue(&queue_name(&record.name)) {
        Some(queue) if delays => Some(Arc::clone(queue)),
        None if delays => return Err(BrokerError::no_queue(topology.vhost(), &queue_name(&record.name))),
        Some(_) | None => None,
    };
    Ok(Declared {
        name: record.name.as_str().into(),
        kind,
        durable: true,
        auto_delete: record.auto_delete,
        internal: record.internal,
        delay,
        arguments,
    })
}

/// Gives back what was seen, and drops it from disk where nobody is left to know it.
fn restore_seen(topology: &Topology, seen: &[&[SeenRecord]], changes: &mut Vec<Change>) {
    if seen.is_empty() {
        return;
    }
    let queues: HashMap<_, _> = topology.queues().map(|queue| (queue.id, &queue.dedup)).collect();
    for of_one in seen {
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
        tracing::error!(%fault, "cannot decode stored arguments: continuing without them");
        FieldTable::default()
    })
}

/// A stored binding, if both ends are there.
fn binding_of(topology: &Topology, record: &BindingRecord) -> Option<Binding> {
    topology.exchange(&record.source)?;
    let target = if record.to_exchange {
        Target::Exchange(Arc::clone(&topology.exchange(&record.destination)?.declared))
    } else {
        Target::Queue(Arc::clone(topology.queue(&record.destination)?))
    };
    let (key, arguments) = (record.routing_key.as_slice().into(), record.arguments.as_slice().into());
    Some(Binding { target, key, arguments })
}

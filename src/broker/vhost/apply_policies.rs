//! What policies are in effect for the queues and exchanges of a vhost.
//!
//! A new one is under its policies before anybody knows of it. When the book of policies changes,
//! what was there before is looked at again: exchanges here, under the lock of the topology, and
//! queues by the broker, which carries out what comes of it.

use super::objects::Objects;
use crate::arguments::{QueueType, Settings, alternate_exchange};
use crate::policy::book::{Book, InEffect};
use crate::policy::{Object, Value};
use crate::queue::Queue;
use crate::queue::reply::is_reply_queue;
use crate::routing::topology::{Declared, Topology};
use std::convert::Infallible;
use std::sync::Arc;

/// Exchanges that are looked at under one lock.
const GOVERNED_AT_ONCE: usize = 256;

/// A queue or exchange for which something else would be in effect.
#[derive(Debug)]
pub struct PolicyDifference {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is a queue.
    pub is_queue: bool,
    /// What is in effect.
    pub before: InEffect,
    /// What would be.
    pub after: InEffect,
}

/// What a queue is to policies; none for what is part of a channel, or of an exchange, and not an
/// operator's.
fn object_of(queue: &Queue) -> Option<Object> {
    if is_reply_queue(&queue.name) || queue.settings.delays {
        return None;
    }
    Some(match queue.settings.kind {
        QueueType::Classic => Object::ClassicQueue,
        QueueType::Quorum => Object::QuorumQueue,
        QueueType::Stream => Object::Stream,
    })
}

/// What policies are in effect in a vhost.
#[derive(Clone, Copy)]
pub struct VHostPolicies<'a>(pub(super) &'a Objects);

impl VHostPolicies<'_> {
    /// Puts policies in effect for what was on disk.
    pub(in crate::broker) fn apply_to_restored(self) {
        self.0.each_queue(|queue| self.apply_to_new(queue));
        self.apply_to_exchanges();
    }

    /// What is in effect for a queue.
    #[must_use]
    pub fn of_queue(self, queue: &Queue) -> InEffect {
        object_of(queue).map(|object| self.in_effect(object, &queue.name)).unwrap_or_default()
    }

    /// The queues and exchanges for which something else would be in effect by another book.
    pub(in crate::broker) fn compared_with(self, book: &Book) -> Vec<PolicyDifference> {
        let state = self.0.read();
        let queues: Vec<_> = state.topology.queues().cloned().collect();
        let exchanges: Vec<_> =
            state.topology.exchanges().map(|found| Arc::clone(&found.declared.name)).collect();
        drop(state);
        let queues = queues.iter().filter_map(|queue| Some((object_of(queue)?, Arc::clone(&queue.name))));
        let exchanges = exchanges.into_iter().map(|name| (Object::Exchange, name));
        let difference = |(object, name): (Object, Arc<str>)| {
            let before = self.in_effect(object, &name);
            let after = book.in_effect(self.0.vhost(), object, &name);
            let is_queue = object != Object::Exchange;
            (before != after).then_some(PolicyDifference { name, is_queue, before, after })
        };
        queues.chain(exchanges).filter_map(difference).collect()
    }

    /// What is in effect for an exchange; none when there is no such exchange.
    #[must_use]
    pub fn of_exchange(self, name: &str) -> Option<InEffect> {
        self.0.read().topology.exchange(name)?;
        Some(self.in_effect(Object::Exchange, name))
    }

    /// The queues for which something else should be in effect than is, and what.
    pub(in crate::broker) fn queues_to_update(self) -> Vec<(Arc<Queue>, Arc<Settings>)> {
        let mut found = Vec::new();
        self.0.each_queue(|queue| {
            let policy = self.of_queue(queue).definition;
            if queue.in_effect().policy != policy {
                found.push((Arc::clone(queue), Arc::new(queue.settings.under(&policy))));
            }
        });
        found
    }

    /// Puts policies in effect for a queue that nobody knows of yet.
    pub(super) fn apply_to_new(self, queue: &Queue) {
        let policy = self.of_queue(queue).definition;
        if !policy.is_empty() {
            queue.begin_under(Arc::new(queue.settings.under(&policy)));
        }
    }

    /// Puts policies in effect for all exchanges, and makes every route be looked up again.
    pub(in crate::broker) fn apply_to_exchanges(self) {
        let exchanges: Vec<Arc<str>> =
            self.0.read().topology.exchanges().map(|exchange| Arc::clone(&exchange.declared.name)).collect();
        // In parts: patterns take their time, and others wait for the lock.
        for names in exchanges.chunks(GOVERNED_AT_ONCE) {
            let Ok(((), _ticket)) = self.0.change(|state, _changes| {
                names.iter().for_each(|name| self.apply_to_exchange(&mut state.topology, name));
                Ok::<_, Infallible>(((), false))
            });
        }
        self.0.renew_routes();
    }

    /// Puts policies in effect for an exchange.
    pub(super) fn apply_to_exchange(self, topology: &mut Topology, name: &str) {
        let Some(exchange) = topology.exchange(name) else { return };
        let alternate = self.alternate(&exchange.declared);
        if exchange.alternate != alternate {
            topology.set_alternate(name, alternate);
        }
    }

    fn in_effect(self, object: Object, name: &str) -> InEffect {
        self.0.context.policies.in_effect(self.0.vhost(), object, name)
    }

    /// Where an exchange sends what it cannot route: as declared, or else as a policy says.
    fn alternate(self, declared: &Declared) -> Option<Arc<str>> {
        let own = alternate_exchange(&declared.arguments);
        let policys = || {
            let policy = self.in_effect(Object::Exchange, &declared.name).definition;
            match policy.get("alternate-exchange") {
                Some(Value::Text(name)) => Some(name.clone()),
                _ => None,
            }
        };
        own.or_else(policys).map(Arc::from)
    }
}

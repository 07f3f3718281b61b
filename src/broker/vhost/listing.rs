//! What there is in a vhost, for an operator, who may see all of it. The vhost is locked once, to
//! copy references; what there is to be told of each thing is read from the copies.

use super::VHost;
use crate::queue::Queue;
use crate::queue::reply::is_reply_queue;
use crate::routing::topology::{Declared, Exchange, Target};
use crate::statistics::ExchangeFlow;
use std::sync::Arc;

/// One end of a binding, and how messages get to the other.
#[derive(Clone)]
pub struct Bound {
    /// The exchange that routes.
    pub source: Arc<Declared>,
    /// The queue or exchange that receives.
    pub target: Target,
    /// The binding key.
    pub key: Box<[u8]>,
    /// Arguments as an encoded table.
    pub arguments: Box<[u8]>,
}

impl VHost {
    /// All queues by name, but those of direct reply-to, which are part of their channels.
    #[must_use]
    pub fn list_queues(&self) -> Vec<Arc<Queue>> {
        let mut queues: Vec<_> = self.objects.read().topology.queues().cloned().collect();
        queues.retain(|queue| !is_reply_queue(&queue.name));
        queues.sort_by_cached_key(|queue| Arc::clone(&queue.name));
        queues
    }

    /// The queue of this name, whoever may use it; not one of direct reply-to.
    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.objects.read().topology.queue(name).filter(|queue| !is_reply_queue(&queue.name)).cloned()
    }

    /// All exchanges by name; the default exchange is none of them.
    #[must_use]
    pub fn list_exchanges(&self) -> Vec<Arc<Declared>> {
        let state = self.objects.read();
        let mut exchanges: Vec<_> =
            state.topology.exchanges().map(|exchange| Arc::clone(&exchange.declared)).collect();
        drop(state);
        exchanges.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        exchanges
    }

    /// What goes through each exchange, that of the default exchange first, whose name is empty.
    #[must_use]
    pub fn list_flows(&self) -> Vec<(Arc<str>, Arc<ExchangeFlow>)> {
        let state = self.objects.read();
        let default = (Arc::from(""), Arc::clone(state.topology.default_flow()));
        let of = |exchange: &Exchange| (Arc::clone(&exchange.declared.name), Arc::clone(&exchange.flow));
        std::iter::once(default).chain(state.topology.exchanges().map(of)).collect()
    }

    /// What goes through an exchange.
    #[must_use]
    pub fn flow_of(&self, exchange: &str) -> Option<Arc<ExchangeFlow>> {
        let state = self.objects.read();
        let topology = &state.topology;
        let flow = if exchange.is_empty() {
            Some(topology.default_flow())
        } else {
            topology.exchange(exchange).map(|found| &found.flow)
        };
        flow.cloned()
    }

    /// All bindings that were made, by their sources; those from the default exchange are not made.
    #[must_use]
    pub fn list_bindings(&self) -> Vec<Bound> {
        let state = self.objects.read();
        let bindings = state.topology.exchanges().flat_map(|exchange| {
            state.topology.bindings_of(exchange).map(|binding| Bound {
                source: Arc::clone(&exchange.declared),
                target: binding.target.clone(),
                key: binding.key.clone(),
                arguments: binding.arguments.clone(),
            })
        });
        let mut bindings: Vec<Bound> = bindings.collect();
        drop(state);
        // Those of one source are in order already.
        bindings.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        bindings
    }
}

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
        let queues: Vec<_> = self.objects.read().topology.queues().cloned().collect();
        let named = queues.into_iter().filter(|queue| !is_reply_queue(&queue.name));
        // Most are told apart without a look at memory elsewhere.
        let mut queues: Vec<_> = named.map(|queue| (beginning(&queue.name), queue)).collect();
        queues.sort_unstable_by(|(one, queue), (other, next)| {
            one.cmp(other).then_with(|| queue.name.cmp(&next.name))
        });
        queues.into_iter().map(|(_, queue)| queue).collect()
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

/// The first bytes of a name, in an order that is never against that of names.
fn beginning(name: &str) -> u128 {
    let mut bytes = [0; 16];
    let len = name.len().min(bytes.len());
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginnings_of_names_are_in_the_order_of_names() {
        let names = ["", "a", "a\u{1}", "aa", "b", "orders.of.tenant.1", "orders.of.tenant.2", "\u{e9}"];
        assert!(names.is_sorted());
        let beginnings = names.map(beginning);
        assert!(beginnings.is_sorted());
        assert_eq!(beginnings[5], beginnings[6], "the names themselves tell these apart");
    }
}

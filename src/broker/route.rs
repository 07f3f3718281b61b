//! Where a message goes: from an exchange along bindings to a set of queues.
//!
//! Each exchange is visited once and each queue gets the message once, whatever loops and doubles the bindings make.
//! An exchange that leads nowhere at all hands the message to its alternate exchange, if it has one.

use crate::broker::exchange::Message;
use crate::broker::queue::Queue;
use crate::broker::topology::{Exchange, Target, Topology};
use crate::error::AmqpError;
use std::collections::HashSet;
use std::sync::Arc;

/// The queues of a message.
#[derive(Clone, Default)]
pub struct Route {
    /// Each queue once, the oldest first.
    pub queues: Box<[Arc<Queue>]>,
    /// Whether every message to the same exchange with the same routing key goes there; false once headers were
    /// looked at.
    pub cacheable: bool,
}

/// A message on its way.
struct Walk<'a> {
    topology: &'a Topology,
    queues: Vec<Arc<Queue>>,
    /// Exchanges that were reached and not visited yet; some may have been.
    pending: Vec<&'a Exchange>,
    cacheable: bool,
}

/// The route from `origin`; `None` stands for the default exchange.
///
/// # Errors
/// 502 when headers have to be looked at and do not decode.
pub fn find(
    topology: &Topology,
    origin: Option<&Exchange>,
    message: Message<'_>,
) -> Result<Route, AmqpError> {
    let mut walk = Walk { topology, queues: Vec::new(), pending: Vec::new(), cacheable: true };
    let Some(origin) = origin else {
        walk.visit_default(message.routing_key);
        return Ok(walk.finish());
    };
    walk.visit(origin, message)?;
    if !walk.pending.is_empty() {
        let mut visited = HashSet::from([&*origin.declared.name]);
        while let Some(exchange) = walk.pending.pop() {
            if visited.insert(&exchange.declared.name) {
                walk.visit(exchange, message)?;
            }
        }
    }
    Ok(walk.finish())
}

impl<'a> Walk<'a> {
    /// The default exchange: every queue is bound to it with its own name.
    fn visit_default(&mut self, routing_key: &[u8]) {
        let queue = std::str::from_utf8(routing_key).ok().and_then(|name| self.topology.queue(name));
        self.queues.extend(queue.cloned());
    }

    fn visit(&mut self, exchange: &'a Exchange, message: Message<'_>) -> Result<(), AmqpError> {
        let Self { topology, queues, pending, cacheable } = self;
        *cacheable &= !exchange.table.reads_headers();
        let mut anywhere = false;
        exchange.table.route(message, |target| {
            anywhere = true;
            match target {
                Target::Queue(queue) => queues.push(Arc::clone(queue)),
                Target::Exchange(declared) => pending.extend(topology.exchange(&declared.name)),
            }
        })?;
        // The default exchange, "", is no alternate: in RabbitMQ nothing comes of it.
        if !anywhere && let Some(name) = exchange.declared.alternate.as_deref() {
            pending.extend(topology.exchange(name));
        }
        Ok(())
    }

    fn finish(mut self) -> Route {
        if self.queues.len() > 1 {
            self.queues.sort_unstable_by_key(|queue| queue.id);
            self.queues.dedup_by_key(|queue| queue.id);
        }
        Route { queues: self.queues.into_boxed_slice(), cacheable: self.cacheable }
    }
}

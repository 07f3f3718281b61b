//! Where a message goes: from an exchange along bindings to a set of queues.
//!
//! A message with copies has several keys, and is routed by all of them at once.
//!
//! Each exchange is visited once and each queue gets the message once, whatever loops and doubles
//! the bindings make. An exchange that leads nowhere with any key hands the message to its
//! alternate exchange, if it has one.

use crate::blocking;
use crate::clock::Now;
use crate::message;
use crate::queue::Queue;
use crate::queue::dedup::Deduplicator;
use crate::queue::delayed::delay_ms;
use crate::routing::exchange::RoutingInput;
use crate::routing::exchange::hash::mix;
use crate::routing::exchange::topic::LongMatches;
use crate::routing::topology::{Exchange, Target, Topology};
use crate::statistics::ExchangeFlow;
use std::collections::HashSet;
use std::sync::Arc;

/// So many queues and exchanges gather before doubles are looked for.
const GATHERED: usize = 1024;

/// The queues of a message.
#[derive(Clone, Default)]
pub struct Route {
    /// Each queue once, the oldest first.
    pub queues: Box<[Arc<Queue>]>,
    /// Whether every message to the same exchange with the same routing key goes there; false once
    /// anything else of the message was looked at, or chance had a say.
    pub cacheable: bool,
    /// Whether one of the queues may refuse a message.
    pub may_refuse: bool,
    /// Whether each message is copied to the firehose.
    pub traced: bool,
    /// Whether a publish is not done with its message in a block: it may be refused, or is copied.
    pub apart: bool,
    /// Whether what a message does must reach the disk together: it comes to several queues, or is
    /// remembered as well.
    pub atomic: bool,
    /// What the exchange has seen that the message is published to, if it takes in each message
    /// once.
    pub dedup: Option<Arc<Deduplicator>>,
    /// Whether that exchange or one of the queues takes in each message once.
    pub deduplicates: bool,
    /// What goes through that exchange.
    pub flow: Arc<ExchangeFlow>,
    /// How much was looked at to find it: bindings, nodes of a trie, queues.
    pub effort: usize,
    /// Made of the queues: the same for routes to the same queues, and hardly ever for others.
    fingerprint: u64,
}

impl Route {
    /// Whether the same queues get a message. Two routes that differ are told apart without looking
    /// at all of their queues.
    #[must_use]
    pub fn has_queues_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && self.queues.len() == other.queues.len()
            && self.queues.iter().zip(&other.queues).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Whether the same exchange, or none, refuses what it has seen.
    #[inline]
    #[must_use]
    pub fn is_sifted_as(&self, other: &Self) -> bool {
        match (&self.dedup, &other.dedup) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// How many queues the messages of a block come to, each counted as often as it has queues.
    #[must_use]
    pub fn reach(&self, block: &message::Block) -> u64 {
        u64::from(block.len()) * self.queues.len() as u64
    }

    /// Whether the exchange has seen a message, so that it is delivered although no queue is bound.
    #[inline]
    #[must_use]
    pub fn knows(&self, message: &message::Message<'_>, now: Now) -> bool {
        self.dedup.as_ref().is_some_and(|dedup| dedup.knows(message, now))
    }
}

/// A message on its way.
struct Walk<'a> {
    topology: &'a Topology,
    /// The routing keys, that of the publish first, and the properties of the message.
    keys: &'a [&'a [u8]],
    properties: &'a [u8],
    queues: Vec<Arc<Queue>>,
    /// Exchanges that were reached and not visited yet; some may have been.
    pending: Vec<&'a Exchange>,
    cacheable: bool,
    dedup: Option<Arc<Deduplicator>>,
    flow: Arc<ExchangeFlow>,
    /// Doubles are taken out when there are more queues and pending exchanges than this.
    doubles_at: usize,
    effort: usize,
    long: &'a mut LongMatches<Target>,
}

/// The route from `origin`, by `keys`, of a message with `properties`; `None` stands for the
/// default exchange. If matches are due in `long` afterwards, it is not all of the route: make
/// them, and look for it again.
pub fn find<'a>(
    topology: &'a Topology,
    origin: Option<&'a Exchange>,
    keys: &'a [&'a [u8]],
    properties: &'a [u8],
    long: &'a mut LongMatches<Target>,
) -> Route {
    let mut walk = Walk {
        topology,
        keys,
        properties,
        queues: Vec::new(),
        pending: Vec::new(),
        cacheable: true,
        dedup: None,
        flow: Arc::clone(origin.map_or(topology.default_flow(), |origin| &origin.flow)),
        doubles_at: GATHERED,
        effort: long.effort(),
        long,
    };
    let Some(origin) = origin else {
        walk.visit_default();
        return walk.finish();
    };
    walk.dedup.clone_from(&origin.dedup);
    walk.visit(origin);
    if !walk.pending.is_empty() {
        let mut visited = HashSet::from([&*origin.declared.name]);
        while let Some(exchange) = walk.pending.pop() {
            if visited.insert(&exchange.declared.name) {
                walk.visit(exchange);
            }
        }
    }
    walk.finish()
}

impl<'a> Walk<'a> {
    /// The default exchange: every queue is bound to it with its own name.
    fn visit_default(&mut self) {
        let named = |key: &&[u8]| str::from_utf8(key).ok().and_then(|name| self.topology.queue(name));
        self.queues.extend(self.keys.iter().filter_map(named).cloned());
    }

    fn visit(&mut self, exchange: &'a Exchange) {
        if let Some(delay) = &exchange.declared.delay {
            self.cacheable = false;
            if delay_ms(self.properties).is_some() {
                self.queues.push(Arc::clone(delay));
                return;
            }
            exchange.tell_of_unreadable_delay(self.topology.vhost(), self.properties);
        }
        self.cacheable &= exchange.table.goes_by_key_alone();
        let mut anywhere = false;
        let first = || self.keys.get(..1).unwrap_or_default();
        let keys = if exchange.table.reads_all_keys() { self.keys } else { first() };
        for &routing_key in keys {
            let Self { topology, queues, pending, long, .. } = self;
            let before = queues.len() + pending.len();
            let message = RoutingInput { routing_key, properties: self.properties };
            let looked_at = exchange.table.route(message, long, |target: &Target| {
                if topology.has_left(target) {
                    return;
                }
                anywhere = true;
                match target {
                    Target::Queue(queue) => queues.push(Arc::clone(queue)),
                    Target::Exchange(declared) => pending.extend(topology.exchange(&declared.name)),
                }
            });
            self.effort += 1 + looked_at + queues.len() + pending.len() - before;
            if queues.len() + pending.len() > self.doubles_at {
                self.drop_doubles();
            }
        }
        // The default exchange, "", is no alternate: in RabbitMQ nothing comes of it.
        if !anywhere && let Some(name) = exchange.alternate.as_deref() {
            self.pending.extend(self.topology.exchange(name));
        }
    }

    /// A message with many keys may find the same few targets over and over.
    fn drop_doubles(&mut self) {
        self.queues.sort_unstable_by_key(|queue| queue.id);
        self.queues.dedup_by_key(|queue| queue.id);
        self.pending.sort_unstable_by_key(|exchange| &exchange.declared.name);
        self.pending.dedup_by_key(|exchange| &exchange.declared.name);
        self.doubles_at = (2 * (self.queues.len() + self.pending.len())).max(GATHERED);
    }

    fn finish(mut self) -> Route {
        if self.queues.len() > 1 {
            blocking::run_many(self.queues.len(), || {
                self.queues.sort_unstable_by_key(|queue| queue.id);
                self.queues.dedup_by_key(|queue| queue.id);
            });
        }
        let may_refuse = self.queues.iter().any(|queue| queue.may_refuse());
        let deduplicates = self.dedup.is_some() || self.queues.iter().any(|queue| queue.dedup.is_some());
        let atomic = self.queues.len() > 1 || deduplicates;
        let traced = self.topology.is_traced();
        let (queues, cacheable, dedup) = (self.queues.into_boxed_slice(), self.cacheable, self.dedup);
        let fingerprint =
            queues.iter().fold(0, |made: u64, queue| made.rotate_left(5).wrapping_add(mix(queue.id.0)));
        let (apart, effort) = (may_refuse || traced, self.effort);
        Route {
            queues,
            cacheable,
            may_refuse,
            traced,
            apart,
            atomic,
            dedup,
            deduplicates,
            flow: self.flow,
            effort,
            fingerprint,
        }
    }
}

//! Where a message goes, and by which bindings: for whoever wonders, not for messages.
//!
//! It is found as [`super::route`] finds it, exchange by exchange, with the bindings looked at one
//! by one for those that led there.

use super::exchange::topic::LongMatches;
use super::exchange::{BindingTable, RoutingInput};
use super::topology::{Binding, Declared, Exchange, Target, Topology};
use crate::queue::Queue;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Queues that are told, at most.
const QUEUES_MAX: usize = 1000;

/// Exchanges that are visited, at most.
const EXCHANGES_MAX: usize = 1000;

/// One step of a message: from an exchange by a binding, or to its alternate exchange.
#[derive(Clone)]
pub struct Step {
    /// Where it comes from; empty for the default exchange.
    pub exchange: Arc<str>,
    /// Where it goes.
    pub target: Target,
    /// By which binding; none for the alternate exchange, and for the default exchange.
    pub binding: Option<Binding>,
}

/// Where a message goes.
#[derive(Default)]
pub struct Explained {
    /// Each queue, and the steps to it, the fewest that there are.
    pub queues: Vec<(Arc<Queue>, Vec<Step>)>,
    /// Alternate exchanges that were used.
    pub alternates: Vec<Arc<str>>,
    /// Exchanges that led nowhere, and have no alternate exchange.
    pub dead_ends: Vec<Arc<Declared>>,
    /// Whether chance had a say.
    pub by_chance: bool,
}

/// How a message goes from `origin`. If matches are due in `long` afterwards, it is not all: make
/// them, and look again.
pub fn explain(
    topology: &Topology,
    origin: &Exchange,
    message: RoutingInput<'_>,
    long: &mut LongMatches<Target>,
) -> Explained {
    let mut explained = Explained::default();
    let mut steps: HashMap<Arc<str>, Vec<Step>> = HashMap::new();
    let mut pending = VecDeque::from([origin]);
    let mut seen = HashSet::from([Arc::clone(&origin.declared.name)]);
    let mut queues = HashSet::new();
    while let Some(exchange) = pending.pop_front() {
        let so_far = steps.get(&exchange.declared.name).cloned().unwrap_or_default();
        for step in steps_from(topology, exchange, message, long, &mut explained) {
            let path = || [so_far.as_slice(), std::slice::from_ref(&step)].concat();
            match &step.target {
                Target::Queue(queue) => {
                    if queues.len() < QUEUES_MAX && queues.insert(queue.id) {
                        explained.queues.push((Arc::clone(queue), path()));
                    }
                }
                Target::Exchange(declared) => {
                    if seen.len() < EXCHANGES_MAX && seen.insert(Arc::clone(&declared.name)) {
                        steps.insert(Arc::clone(&declared.name), path());
                        pending.extend(topology.exchange(&declared.name));
                    }
                }
            }
        }
    }
    explained
}

/// The steps that a message takes from an exchange, each target once.
fn steps_from(
    topology: &Topology,
    exchange: &Exchange,
    message: RoutingInput<'_>,
    long: &mut LongMatches<Target>,
    explained: &mut Explained,
) -> Vec<Step> {
    let from = Arc::clone(&exchange.declared.name);
    explained.by_chance |= matches!(&exchange.table, BindingTable::Random(random) if random.has_choice());
    let mut targets: Vec<Target> = Vec::new();
    exchange.table.route(message, long, |target| {
        if !topology.has_left(target) && !targets.contains(target) {
            targets.push(target.clone());
        }
    });
    if !targets.is_empty() {
        let binding = |target: &Target| {
            let bindings = topology.bindings_of(exchange).filter(|binding| binding.target == *target);
            let led = bindings.into_iter().find(|binding| leads(exchange, binding, message));
            led.cloned()
        };
        let step = |target: Target| Step { exchange: Arc::clone(&from), binding: binding(&target), target };
        return targets.into_iter().map(step).collect();
    }
    match exchange.alternate.as_deref().and_then(|name| topology.exchange(name)) {
        Some(alternate) => {
            explained.alternates.push(Arc::clone(&alternate.declared.name));
            let target = Target::Exchange(Arc::clone(&alternate.declared));
            vec![Step { exchange: from, target, binding: None }]
        }
        None => {
            explained.dead_ends.push(Arc::clone(&exchange.declared));
            Vec::new()
        }
    }
}

/// Whether a message goes by this binding, were it the only one.
fn leads(exchange: &Exchange, binding: &Binding, message: RoutingInput<'_>) -> bool {
    let mut alone = BindingTable::new(exchange.declared.kind, &exchange.declared.arguments);
    alone.insert(&binding.key, &binding.arguments, binding.target.clone());
    let (mut leads, mut long) = (false, LongMatches::default());
    alone.route(message, &mut long, |_| leads = true);
    leads || long.are_due()
}

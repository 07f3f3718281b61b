//! How queues and exchanges go, however many bindings they have.
//!
//! What is removed leaves at once: nobody finds it by its name, no message is routed to it, and the
//! change that says so is made first. Its bindings are removed in parts, so that others get the
//! lock between two of them, and nothing can be declared by its name before the last one is gone.
//! So at any moment the bindings on disk that have lost an end are those of something that is not
//! there, and a restart drops them; a name that is declared again has none from before.
//!
//! An auto-delete exchange whose last binding is removed goes the same way, as a part of the same
//! removal.

use super::defined::Defined;
use super::{Binding, Bound, Exchange, Target, Topology, is_own, is_predeclared, record};
use crate::blocking;
use crate::queue::Queue;
use crate::queue::reply::is_reply_queue;
use crate::routing::exchange::shrink;
use crate::store::change::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Bindings, queues and exchanges that are removed in one part: half a millisecond, if each takes a
/// microsecond.
const PART: usize = 512;

/// The number of a removal that is not done yet. Call [`Topology::go_on`] until it is.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removal(u64);

/// What was removed, and takes its time to be dropped: messages and tables.
#[derive(Default)]
pub struct Gone {
    queues: Vec<Arc<Queue>>,
    exchanges: Vec<Exchange>,
    /// How many bindings the exchanges had.
    bindings: usize,
}

impl Gone {
    /// Drops it.
    pub fn let_go(self) {
        self.queues.iter().for_each(|queue| queue.drop_messages());
        blocking::run_many(self.bindings, || drop(self.exchanges));
    }
}

/// What is removed and has bindings yet, by name, and the removals it is in.
#[derive(Default)]
pub(super) struct Leaving {
    queues: HashMap<Arc<str>, Bound>,
    exchanges: HashMap<Arc<str>, Exchange>,
    removals: BTreeMap<Removal, Vec<Part>>,
    /// How many removals there were that took more than one part.
    count: u64,
}

/// One thing that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Queue(Arc<str>),
    /// With how many bindings from it there were.
    Exchange(Arc<str>, usize),
}

impl Leaving {
    pub(super) fn queue_mut(&mut self, name: &str) -> Option<&mut Bound> {
        self.queues.get_mut(name)
    }

    pub(super) fn exchange_mut(&mut self, name: &str) -> Option<&mut Exchange> {
        self.exchanges.get_mut(name)
    }

    fn removal_of(&self, is_it: impl Fn(&Part) -> bool) -> Option<Removal> {
        let mut removals = self.removals.iter();
        removals.find(|(_, parts)| parts.iter().any(&is_it)).map(|(&removal, _)| removal)
    }
}

impl Topology {
    /// Removes a queue with its bindings, and the auto-delete exchanges that lose their last one.
    pub fn remove_queue(&mut self, name: &str, changes: &mut Vec<Change>) -> Option<Removal> {
        let mut parts = Vec::new();
        self.part_with_queue(name, &mut parts, changes);
        self.remove_part(parts, None, changes)
    }

    /// Removes an exchange with the bindings from it and to it, and the auto-delete exchanges that
    /// lose their last one.
    pub fn remove_exchange(&mut self, name: &str, changes: &mut Vec<Change>) -> Option<Removal> {
        let mut parts = Vec::new();
        self.part_with_exchange(name, &mut parts, changes);
        self.remove_part(parts, None, changes)
    }

    /// Removes the next part; the removal, if there is more to do.
    pub fn go_on(&mut self, removal: Removal, changes: &mut Vec<Change>) -> Option<Removal> {
        let parts = self.leaving.removals.remove(&removal)?;
        self.remove_part(parts, Some(removal), changes)
    }

    /// The removal that a queue of this name leaves by.
    pub fn removal_of_queue(&self, name: &str) -> Option<Removal> {
        self.leaving.queues.get(name)?;
        self.leaving.removal_of(|part| matches!(part, Part::Queue(leaving) if **leaving == *name))
    }

    /// The removal that an exchange of this name leaves by.
    pub fn removal_of_exchange(&self, name: &str) -> Option<Removal> {
        self.leaving.exchanges.get(name)?;
        self.leaving.removal_of(|part| matches!(part, Part::Exchange(leaving, _) if **leaving == *name))
    }

    /// Any removal that is not done.
    pub fn any_removal(&self) -> Option<Removal> {
        self.leaving.removals.keys().next().copied()
    }

    /// Whether a target was removed, although bindings still lead to it.
    pub fn has_left(&self, target: &Target) -> bool {
        match target {
            Target::Queue(queue) => {
                !self.leaving.queues.is_empty() && self.leaving.queues.contains_key(&queue.name)
            }
            Target::Exchange(declared) => {
                !self.leaving.exchanges.is_empty() && self.leaving.exchanges.contains_key(&declared.name)
            }
        }
    }

    /// From here on the queue is not there.
    fn part_with_queue(&mut self, name: &str, parts: &mut Vec<Part>, changes: &mut Vec<Change>) {
        let Some((name, bound)) = self.queues.remove_entry(name) else { return };
        shrink::give_back(&mut self.queues);
        let queue = &bound.queue;
        self.revision += 1;
        self.defined -= Defined::of_queue(queue);
        self.own_queues -= usize::from(is_own(&queue.name));
        self.churn.deleted += u64::from(!is_reply_queue(&queue.name));
        if let Some(owner) = queue.owner() {
            self.owned.remove(&(owner, queue.id));
        }
        if queue.settings.durable {
            changes.push(Change::DeleteQueue(queue.id));
        }
        changes.extend(queue.dedup.as_ref().and_then(|dedup| dedup.close()));
        self.gone.queues.push(Arc::clone(queue));
        if !bound.sources.is_empty() {
            parts.push(Part::Queue(Arc::clone(&name)));
            self.leaving.queues.insert(name, bound);
        }
    }

    /// From here on the exchange is not there.
    fn part_with_exchange(&mut self, name: &str, parts: &mut Vec<Part>, changes: &mut Vec<Change>) {
        let Some((name, exchange)) = self.exchanges.remove_entry(name) else { return };
        shrink::give_back(&mut self.exchanges);
        self.revision += 1;
        self.defined -= Defined::of_exchange(&exchange.declared);
        // No row tells of those that are there from the beginning.
        if exchange.declared.durable && !is_predeclared(&name) {
            changes.push(Change::DeleteExchange { vhost: self.vhost.to_string(), name: name.to_string() });
        }
        changes.extend(exchange.dedup.as_ref().and_then(|dedup| dedup.close()));
        if let Some(delay) = &exchange.declared.delay {
            let _unconditional = delay.close(false, false);
            self.part_with_queue(&delay.name, parts, changes);
        }
        parts.push(Part::Exchange(Arc::clone(&name), exchange.bindings.len()));
        self.leaving.exchanges.insert(name, exchange);
    }

    /// A list of what is left to do, not recursion: a chain of auto-delete exchanges may be long.
    fn remove_part(
        &mut self,
        mut parts: Vec<Part>,
        removal: Option<Removal>,
        changes: &mut Vec<Change>,
    ) -> Option<Removal> {
        let mut left = PART;
        while let Some(part) = parts.pop() {
            let is_done = match &part {
                Part::Queue(name) => self.empty_queue(name, &mut left, &mut parts, changes),
                Part::Exchange(name, had) => {
                    self.empty_exchange((name, *had), &mut left, &mut parts, changes)
                }
            };
            if !is_done {
                parts.push(part);
                let removal = removal.unwrap_or_else(|| {
                    self.leaving.count += 1;
                    Removal(self.leaving.count)
                });
                self.leaving.removals.insert(removal, parts);
                return Some(removal);
            }
        }
        None
    }

    /// Removes bindings to a queue that leaves, `left` at most; whether all are removed, and the
    /// queue with them.
    fn empty_queue(
        &mut self,
        name: &Arc<str>,
        left: &mut usize,
        parts: &mut Vec<Part>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(mut bound) = self.leaving.queues.remove(name) else { return true };
        let target = Target::Queue(Arc::clone(&bound.queue));
        let is_done = self.unbind_target(&target, &mut bound.sources, left, parts, changes);
        if !is_done {
            self.leaving.queues.insert(Arc::clone(name), bound);
        }
        is_done
    }

    /// As [`Self::empty_queue`], of an exchange; bindings from it too.
    fn empty_exchange(
        &mut self,
        (name, had): (&Arc<str>, usize),
        left: &mut usize,
        parts: &mut Vec<Part>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(mut exchange) = self.leaving.exchanges.remove(name) else { return true };
        while *left > 0
            && let Some(binding) = exchange.bindings.pop_first()
        {
            *left -= 1;
            self.bindings -= 1;
            self.defined -= Defined::of_binding(&exchange.declared, &binding);
            record(Change::Unbind, (&self.vhost, &exchange.declared), &binding, changes);
            let was_last = exchange.bindings.first().is_none_or(|next| next.target != binding.target);
            if was_last && let Some(sources) = self.sources_of(&binding.target) {
                sources.remove(name);
            }
        }
        let target = Target::Exchange(Arc::clone(&exchange.declared));
        let is_done = exchange.bindings.is_empty() && *left > 0 && {
            *left -= 1;
            // Those from itself are gone.
            exchange.sources.remove(name);
            self.unbind_target(&target, &mut exchange.sources, left, parts, changes)
        };
        if is_done {
            self.gone.exchanges.push(exchange);
            self.gone.bindings += had;
        } else {
            self.leaving.exchanges.insert(Arc::clone(name), exchange);
        }
        is_done
    }

    /// Removes bindings to `target`, which leaves, from its `sources`, `left` at most; whether all
    /// are removed. The auto-delete exchanges left without a binding leave too.
    fn unbind_target(
        &mut self,
        target: &Target,
        sources: &mut BTreeSet<Arc<str>>,
        left: &mut usize,
        parts: &mut Vec<Part>,
        changes: &mut Vec<Change>,
    ) -> bool {
        while let Some(source) = sources.first() {
            if *left == 0 {
                return false;
            }
            let (here, leaving) = (self.exchanges.get_mut(source), self.leaving.exchanges.get_mut(source));
            let is_here = here.is_some();
            if let Some(exchange) = here.or(leaving) {
                let lost: Vec<Binding> = exchange.to(target).take(*left).cloned().collect();
                *left -= lost.len();
                self.bindings -= lost.len();
                for binding in lost {
                    self.defined -= Defined::of_binding(&exchange.declared, &binding);
                    exchange.bindings.remove(&binding);
                    if is_here {
                        exchange.table.remove(&binding.key, &binding.arguments, target);
                    }
                    record(Change::Unbind, (&self.vhost, &exchange.declared), &binding, changes);
                }
                if exchange.to(target).next().is_some() {
                    return false;
                }
                if is_here && exchange.is_bare() {
                    self.part_with_exchange(source, parts, changes);
                }
            }
            sources.pop_first();
        }
        true
    }

    /// The names of all queues and of all exchanges.
    pub fn names(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        (self.queues.keys().cloned().collect(), self.exchanges.keys().cloned().collect())
    }
}

//! What exists by name in a vhost: exchanges, queues and bindings behind one lock, and how that
//! changes.
//!
//! Durable changes are appended to the log as one unit while the lock is held, so that their order
//! on disk is the order in which they happened. Whoever sees a change sees another epoch.

use super::apply_policies::VHostPolicies;
use super::context::{BrokerContext, Counts};
use super::recover::{RecoveredVHost, restore};
use crate::arguments::{QueueType, Settings};
use crate::blocking::{self, Waiting};
use crate::broker::sweeps::Order;
use crate::ids::{ConnectionId, Ticket, VHostId};
use crate::queue::{Home, Queue, QueueContext};
use crate::routing::topology::{Removal, Topology};
use crate::store::change::Change;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The exchanges, queues and bindings of a vhost.
pub(super) struct Objects {
    pub(super) context: Arc<BrokerContext>,
    /// What queues are made with.
    queue_context: QueueContext,
    state: RwLock<State>,
    /// Who waits for `state`.
    waiting: Waiting,
    epoch: AtomicU64,
    /// Secret, for names that cannot be guessed.
    entropy: [RandomState; 2],
}

/// What is there, under the lock.
pub(super) struct State {
    pub(super) topology: Topology,
    /// When it is durable, everything durable in `topology` is.
    ticket: Ticket,
    /// What of `topology` is in the counts of all vhosts.
    counted: Counts,
    /// The vhost is gone, and nothing can be declared in it.
    pub(super) closed: bool,
    /// Queues of clients, at most.
    pub(super) queues_max: Option<u32>,
    /// The type of a queue whose declaration names none.
    pub(super) default_kind: QueueType,
}

impl Objects {
    /// None yet, in the vhost that is the `home` of its queues.
    pub(super) fn new(home: Home, context: Arc<BrokerContext>) -> Self {
        let topology = Topology::new(Arc::clone(&home.name));
        let counted = Counts::of(&topology);
        context.count(Counts::default(), counted);
        Self {
            queue_context: context.queue_context(home),
            context,
            epoch: AtomicU64::new(topology.revision()),
            waiting: Waiting::default(),
            state: RwLock::new(State {
                topology,
                ticket: Ticket(0),
                counted,
                closed: false,
                queues_max: None,
                default_kind: QueueType::Classic,
            }),
            entropy: [RandomState::new(), RandomState::new()],
        }
    }

    /// Brings back what was on disk.
    pub(super) fn restore(&mut self, part: &RecoveredVHost<'_>) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut changes = restore(&mut state.topology, part, &self.queue_context, &self.context.limits.get());
        state.ticket = append(&self.queue_context, &mut changes).unwrap_or_default();
        let counts = Counts::of(&state.topology);
        self.context.count(state.counted, counts);
        state.counted = counts;
        self.context.look_for_log(&state.topology);
        self.epoch.store(state.topology.revision(), Ordering::Release);
    }

    /// The id of the vhost.
    pub(super) fn id(&self) -> VHostId {
        self.queue_context.home.id
    }

    /// The name of the vhost.
    pub(super) fn vhost(&self) -> &Arc<str> {
        &self.queue_context.home.name
    }

    /// Another number after each change: a route that was found after reading it is right while it
    /// is the same.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Shows every queue, outside of the lock.
    pub(super) fn each_queue(&self, visit: impl FnMut(&Arc<Queue>)) {
        let queues: Vec<_> = self.read().topology.queues().cloned().collect();
        queues.iter().for_each(visit);
    }

    /// Makes every route that was found before be looked for again.
    pub(super) fn renew_routes(&self) {
        let Ok(((), _ticket)) = self.change(|state, _changes| {
            state.topology.renew();
            Ok::<_, Infallible>(((), false))
        });
    }

    /// A new queue, whose name is not taken.
    pub(super) fn create(
        &self,
        state: &mut State,
        changes: &mut Vec<Change>,
        name: String,
        settings: Settings,
        owner: Option<ConnectionId>,
    ) -> Arc<Queue> {
        let identity = (self.context.next_queue(), name.into());
        let queue = Queue::new(identity, settings, owner, &self.queue_context);
        VHostPolicies(self).apply_to_new(&queue);
        state.topology.add_queue(Arc::clone(&queue), changes);
        queue
    }

    /// Runs `work` under the lock and appends its changes. `work` makes no change when it fails,
    /// and tells whether what it answers rests on something durable.
    pub(super) fn change<R, E>(
        &self,
        work: impl FnOnce(&mut State, &mut Vec<Change>) -> Result<(R, bool), E>,
    ) -> Result<(R, Ticket), E> {
        self.change_in(self.write(), work)
    }

    /// As [`Self::change`], with the lock held already.
    pub(super) fn change_in<R, E>(
        &self,
        mut state: RwLockWriteGuard<'_, State>,
        work: impl FnOnce(&mut State, &mut Vec<Change>) -> Result<(R, bool), E>,
    ) -> Result<(R, Ticket), E> {
        let mut changes = Vec::new();
        let (result, durable) = work(&mut state, &mut changes)?;
        self.finish(&mut state, &mut changes);
        let ticket = state.known(durable);
        let gone = state.topology.take_gone();
        drop(state);
        gone.let_go();
        Ok((result, ticket))
    }

    /// Removes what a removal has left, a part at a time, each once there is room in the log, with
    /// others between two parts. Not to be called under an atomic batch.
    pub(super) fn go_on(&self, removal: Option<Removal>) -> Ticket {
        let Some(removal) = removal else { return Ticket(0) };
        blocking::run(|| {
            loop {
                self.context.log.wait_for_room();
                if let (None, ticket) = self.remove_part(removal) {
                    return ticket;
                }
            }
        })
    }

    /// Removes the next part of a removal; the removal, if there is more to do.
    pub(super) fn remove_part(&self, removal: Removal) -> (Option<Removal>, Ticket) {
        self.waiting.let_in();
        let Ok(done) =
            self.change(|state, changes| Ok::<_, Infallible>((state.topology.go_on(removal, changes), true)));
        done
    }

    /// Leaves the rest of a removal, if there is any, to who waits for nobody's sake.
    pub(super) fn go_on_later(&self, removal: Option<Removal>) {
        if let Some(removal) = removal
            && let Some(vhost) = self.context.vhost(self.id())
        {
            self.context.sweeps.order(Order::Removal(vhost, removal));
        }
    }

    /// The lock, once what `removal` finds is gone: whoever wants a name that leaves helps to
    /// remove what had it.
    pub(super) fn write_without(
        &self,
        removal: impl Fn(&Topology) -> Option<Removal>,
    ) -> RwLockWriteGuard<'_, State> {
        self.write_after(removal, |found| {
            self.go_on(Some(found));
        })
    }

    /// As [`Self::write_without`] any removal, for who may have an atomic batch: it does not wait
    /// for room in the log.
    pub(super) fn write_without_any(&self) -> RwLockWriteGuard<'_, State> {
        self.write_after(Topology::any_removal, |found| {
            let _more = self.remove_part(found);
        })
    }

    /// The lock, once `removal` finds nothing; `remove` is to do something about what it finds.
    fn write_after(
        &self,
        removal: impl Fn(&Topology) -> Option<Removal>,
        remove: impl Fn(Removal),
    ) -> RwLockWriteGuard<'_, State> {
        loop {
            let state = self.write();
            let Some(found) = removal(&state.topology) else { return state };
            drop(state);
            remove(found);
        }
    }

    /// Appends what was changed under the lock, and lets everybody see it. When the ticket is
    /// durable, everything durable here is.
    pub(super) fn finish(&self, state: &mut State, changes: &mut Vec<Change>) -> Ticket {
        if let Some(ticket) = append(&self.queue_context, changes) {
            state.ticket = ticket;
        }
        let counts = Counts::of(&state.topology);
        self.context.count(state.counted, counts);
        if let Some(grown @ 1..) = counts.defined.all.checked_sub(state.counted.defined.all) {
            self.context.scarcity.grown(grown);
        }
        state.counted = counts;
        let churn = state.topology.take_churn();
        self.context.metrics.queues_created.add(churn.created);
        self.context.metrics.queues_deleted.add(churn.deleted);
        self.context.look_for_log(&state.topology);
        let revision = state.topology.revision();
        if self.epoch.swap(revision, Ordering::Release) != revision {
            self.queue_context.home.stranded.retry();
        }
        state.ticket
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        let waited = |_taken| {
            let _waiting = self.waiting.one();
            blocking::wait(|| self.state.read().unwrap_or_else(PoisonError::into_inner))
        };
        self.state.try_read().unwrap_or_else(waited)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        let waited = |_taken| {
            let _waiting = self.waiting.one();
            blocking::wait(|| self.state.write().unwrap_or_else(PoisonError::into_inner))
        };
        self.state.try_write().unwrap_or_else(waited)
    }

    /// Appends changes that were made without being appended, as one unit.
    pub(super) fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        append(&self.queue_context, changes).unwrap_or_default()
    }

    /// Lets those in who wait for the lock.
    pub(super) fn let_in(&self) {
        self.waiting.let_in();
    }

    /// A name that no queue has: what it is to begin with, and 22 characters of base64url, 128 of
    /// whose bits are random.
    pub(super) fn unused_name(&self, topology: &Topology, prefix: &str) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        loop {
            let count = self.context.next_queue().0;
            let [low, high] = self.entropy.each_ref().map(|key| u128::from(key.hash_one(count)));
            let bits = high << 64 | low;
            let digits = (0..22).map(|place| char::from(DIGITS[((bits >> (6 * place)) & 63) as usize]));
            let name = format!("{prefix}{}", digits.collect::<String>());
            if topology.queue(&name).is_none() {
                return name;
            }
        }
    }
}

impl State {
    /// What to wait for before telling a client that a thing is there: nothing, for one that is not
    /// durable.
    pub(super) fn known(&self, durable: bool) -> Ticket {
        if durable { self.ticket } else { Ticket(0) }
    }
}

/// Appends what there is to append.
fn append(queue_context: &QueueContext, changes: &mut Vec<Change>) -> Option<Ticket> {
    (!changes.is_empty()).then(|| queue_context.log.append(changes))
}

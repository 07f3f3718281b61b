//! What all vhosts of a broker share: where changes go, who wakes their queues, and how much there
//! may be in all of them together.
//!
//! The counts are exact. Two clients that declare in two vhosts at the very same moment may each
//! take the last place: the limits here keep memory in bounds, they are no quota.

use super::VHost;
use crate::arguments::misnamed::Misnamed;
use crate::broker::alarms::Alarms;
use crate::broker::policies::PolicyBook;
use crate::broker::scarcity::Scarcity;
use crate::broker::sweeps::Sweeps;
use crate::config::CurrentLimits;
use crate::error::{BrokerError, Resource};
use crate::ids::{QueueId, VHostId};
use crate::message::table::{self, FieldTable};
use crate::metrics::Metrics;
use crate::queue::timers::Timers;
use crate::queue::{ConsumerArguments, Home, QueueContext};
use crate::routing::topology::{Defined, LOG, Topology};
use crate::store::change::Log;
use dashmap::DashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// What all virtual hosts of a broker share: the log, timers, policies, metrics and limits.
pub struct BrokerContext {
    pub(in crate::broker) log: Arc<dyn Log>,
    pub(in crate::broker) limits: Arc<CurrentLimits>,
    pub(in crate::broker) policies: PolicyBook,
    pub(in crate::broker) metrics: Arc<Metrics>,
    pub(in crate::broker) scarcity: Scarcity,
    pub(in crate::broker) sweeps: Sweeps,
    /// Something is bound to the exchange of the log.
    log_wanted: AtomicBool,
    memory: Arc<AtomicUsize>,
    timers: Arc<Timers>,
    /// Arguments that the log has told of.
    pub(super) misnamed: Misnamed,
    /// The vhosts by their ids, also those that nobody finds by name yet or any more.
    vhosts: DashMap<VHostId, Weak<VHost>>,
    next_vhost: AtomicU64,
    /// Ids of queues are unique over all vhosts: they are the keys of their messages.
    next_queue: AtomicU64,
    queues: AtomicUsize,
    exchanges: AtomicUsize,
    bindings: AtomicUsize,
    /// How much all of that is, in bytes, and what of it is durable.
    defined: [AtomicUsize; 2],
    /// Bytes of the arguments of consumers.
    consumed: Arc<AtomicUsize>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Queues, those of direct reply-to and of delayed messages included.
    pub(super) queues: usize,
    /// Exchanges, without the default exchange.
    pub(super) exchanges: usize,
    /// Bindings.
    pub(super) bindings: usize,
    /// Bytes of all of them.
    pub(super) defined: Defined,
}

impl BrokerContext {
    /// `next_queue` is an id that no queue has had, nor any above it.
    #[must_use]
    pub fn new(
        log: Arc<dyn Log>,
        timers: Arc<Timers>,
        limits: Arc<CurrentLimits>,
        next_queue: u64,
        policies: PolicyBook,
        (metrics, alarms): (Arc<Metrics>, Arc<Alarms>),
    ) -> Arc<Self> {
        Arc::new(Self {
            scarcity: Scarcity::new(Arc::clone(&log), alarms),
            log,
            limits,
            policies,
            metrics,
            sweeps: Sweeps::default(),
            log_wanted: AtomicBool::new(false),
            memory: Arc::default(),
            timers,
            misnamed: Misnamed::default(),
            vhosts: DashMap::new(),
            next_vhost: AtomicU64::new(1),
            next_queue: AtomicU64::new(next_queue),
            queues: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            bindings: AtomicUsize::new(0),
            defined: Default::default(),
            consumed: Arc::default(),
        })
    }

    /// What the queues of a vhost are made with.
    pub(super) fn queue_context(&self, home: Home) -> QueueContext {
        QueueContext {
            log: Arc::clone(&self.log),
            memory: Arc::clone(&self.memory),
            timers: Arc::clone(&self.timers),
            home,
        }
    }

    /// Gives a vhost its id, by which it is found for as long as it exists.
    pub(super) fn register(&self, vhost: &Weak<VHost>) -> VHostId {
        let id = VHostId(self.next_vhost.fetch_add(1, Ordering::Relaxed));
        self.vhosts.insert(id, Weak::clone(vhost));
        id
    }

    /// A vhost no longer exists.
    pub(super) fn unregister(&self, id: VHostId) {
        self.vhosts.remove(&id);
    }

    /// The vhost of this id, if it still exists.
    pub(in crate::broker) fn vhost(&self, id: VHostId) -> Option<Arc<VHost>> {
        self.vhosts.get(&id)?.upgrade()
    }

    /// An id that no queue has had.
    pub(super) fn next_queue(&self) -> QueueId {
        QueueId(self.next_queue.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether something is bound to the exchange of the log.
    #[inline]
    pub(in crate::broker) fn wants_log(&self) -> bool {
        self.log_wanted.load(Ordering::Relaxed)
    }

    /// A topology has changed: the one with the exchange of the log tells whether that is bound to
    /// something.
    pub(super) fn look_for_log(&self, topology: &Topology) {
        if let Some(exchange) = topology.exchange(LOG) {
            self.log_wanted.store(topology.is_used(exchange), Ordering::Relaxed);
        }
    }

    /// How much there is in all vhosts.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            queues: self.queues.load(Ordering::Relaxed),
            exchanges: self.exchanges.load(Ordering::Relaxed),
            bindings: self.bindings.load(Ordering::Relaxed),
            defined: self.defined(),
        }
    }

    /// How much is defined in all vhosts, arguments of consumers among it.
    pub(in crate::broker) fn defined(&self) -> Defined {
        let [all, durable] = self.defined.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
        Defined { all: all + self.consumed.load(Ordering::Relaxed), durable }
    }

    /// The arguments of a new consumer of this queue.
    ///
    /// # Errors
    /// They are too long, or there is no room for them.
    pub(super) fn keep_arguments(
        &self,
        on: &Resource,
        arguments: &FieldTable,
    ) -> Result<Option<Arc<ConsumerArguments>>, BrokerError> {
        if arguments.is_empty() {
            return Ok(None);
        }
        self.check_arguments(on, arguments)?;
        let mut encoded = Vec::new();
        table::encode(arguments, &mut encoded);
        let bytes = encoded.len();
        self.check_room("consume from", on, || Defined { all: bytes, durable: 0 })?;
        self.scarcity.grown(bytes);
        Ok(Some(Arc::new(ConsumerArguments::new(encoded.into(), Arc::clone(&self.consumed)))))
    }

    /// A vhost has `after` where it had `before`.
    pub(super) fn count(&self, before: Counts, after: Counts) {
        let turn = |total: &AtomicUsize, before: usize, after: usize| {
            // A wrapping sum is right in the end, whatever order the vhosts come in.
            total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        };
        turn(&self.queues, before.queues, after.queues);
        turn(&self.exchanges, before.exchanges, after.exchanges);
        turn(&self.bindings, before.bindings, after.bindings);
        turn(&self.defined[0], before.defined.all, after.defined.all);
        turn(&self.defined[1], before.defined.durable, after.defined.durable);
    }
}

impl Counts {
    /// What is in a topology.
    pub(super) fn of(topology: &Topology) -> Self {
        Self {
            queues: topology.queue_count(),
            exchanges: topology.exchange_count(),
            bindings: topology.binding_count(),
            defined: topology.defined(),
        }
    }
}

//! The broker: what sessions call. Exchanges, routes, queues; no I/O, no async, time passed in.
//!
//! A queue returns what must happen elsewhere as effects; [`Broker`] has them carried out after the
//! queue's lock is released. Whatever may touch two queues runs in one atomic batch of the log, so
//! that it reaches the disk as one.

pub mod accounts;
mod alarms;
pub mod attempts;
pub mod browse;
pub mod clients;
pub mod counted;
mod deduplicate;
pub mod definitions;
mod effects;
pub mod entry;
pub mod jobs;
mod listening;
pub mod log_exchange;
mod paging;
pub mod parameters;
pub mod parked;
pub mod policies;
mod quotas;
mod registry;
pub mod sampling;
mod scarcity;
mod sweeps;
mod thread;
pub mod trace;
mod transaction;
pub mod transfer;
pub mod users;
mod verdict;
pub mod vhost;
pub mod vhosts;

pub use self::alarms::{AlarmLimits, Alarms, Shortage, Unfinished};
pub use self::listening::Listening;
pub use self::quotas::{Permit, Quota, Quotas};
pub use self::transaction::{Rooms, Settlement};
pub use self::verdict::Enqueued;

use self::accounts::Accounts;
use self::attempts::Attempts;
use self::browse::Browser;
use self::clients::Clients;
use self::deduplicate::enqueue_unseen;
use self::effects::EffectHandler;
use self::jobs::{Job, Jobs, NotBegun, Order};
use self::parameters::GlobalParameters;
use self::parked::ParkedMessages;
use self::policies::{Policies, PolicyBook};
use self::registry::Registry;
use self::sampling::{Sampling, USAGE};
use self::transaction::AtomicBatches;
use self::transfer::Transfers;
use self::users::Users;
use self::vhost::{BrokerContext, RecoveredVHost, VHost};
use self::vhosts::VHosts;
use crate::arguments::Requeue;
use crate::audit::recent::{LogLine, RecentLines};
use crate::auth::directory::AuthChange;
use crate::auth::vhost::VHostRecord;
use crate::blocking;
use crate::clock::{Clock, Now};
use crate::cluster_status::{ClusterStatus, KnownStatus};
use crate::config::{CurrentLimits, Limits};
use crate::error::{BrokerError, Scarce};
use crate::ids::{ConnectionId, ConsumerId, Ticket};
use crate::machine;
use crate::message::Block;
use crate::metrics::{Counter, IoCounters, Metrics};
use crate::queue::mailbox::Mailbox;
use crate::queue::reply::is_reply_queue;
use crate::queue::timers::Timers;
use crate::queue::unread::Unread;
use crate::queue::{ChannelLimit, Consumer, Got, Queue, QueueStats, Settled, count_of, in_portions};
use crate::routing::route::Route;
use crate::routing::topology::Defined;
use crate::store::change::{Change, DamagedRun, Health, Log, Recovered};
use crate::store::{Opened, StoreError};
use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Queues that are called in one go at most.
const TICK_QUEUES_MAX: usize = 256;

/// So many damaged runs are logged one by one at a start.
const DAMAGED_LOGGED_MAX: usize = 100;

/// What it may take to call a queue, all of whose messages may have expired.
const TICK_EFFORT: usize = blocking::FEW / 2;

/// What it takes to put a block into a queue, deal it and tell the log, where [`blocking::FEW`] is
/// a millisecond.
const QUEUE_EFFORT: usize = 4;

/// Messages that come back to a queue, or die there, in one go.
const PORTION: u64 = 2048;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// `product` in the server's properties.
    pub product: String,
    /// `version` in the server's properties.
    pub version: String,
    /// Users who may come from this machine only.
    pub local_only: Vec<String>,
    /// The user that clients are who log in by ANONYMOUS; none where that is not offered.
    pub anonymous_user: Option<String>,
    /// What clients may ask for, until [`Broker::set_limits`] changes it.
    pub limits: Limits,
    /// When publishers have to wait.
    pub alarms: AlarmLimits,
    /// The cluster that it is the broker of, if it is of one.
    pub cluster: Option<OfCluster>,
}

/// What a broker knows of its cluster.
#[derive(Clone)]
pub struct OfCluster {
    /// The node that it is on.
    pub node: String,
    /// Tells how the nodes stand.
    pub status: KnownStatus,
}

impl fmt::Debug for OfCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfCluster").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            product: "Leveret".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            local_only: vec!["guest".into()],
            anonymous_user: None,
            limits: Limits::default(),
            alarms: AlarmLimits::default(),
            cluster: None,
        }
    }
}

/// What there is at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Queues; those of direct reply-to, and what is in them, are counted in `resident` alone.
    pub queues: u64,
    /// Messages that wait for a consumer.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacked: u64,
    /// Messages that died and have nowhere to go.
    pub messages_parked: u64,
    /// Consumers.
    pub consumers: u64,
    /// Open connections.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Those of them that have published something.
    pub publishers: u64,
    /// Bytes of records that queues hold in memory.
    pub resident: u64,
}

/// Sets the filter of the log; an error says why it cannot be used.
pub type LogFilter = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// A broker: virtual hosts, users, policies, clients and the log behind them.
pub struct Broker {
    registry: Arc<Registry>,
    effects: Arc<EffectHandler>,
    accounts: Accounts,
    attempts: Attempts,
    parameters: GlobalParameters,
    node_name: String,
    cluster: Option<OfCluster>,
    clients: Clients,
    jobs: Jobs,
    recent: OnceLock<RecentLines>,
    log: Arc<dyn Log>,
    timers: Arc<Timers>,
    product: String,
    version: String,
    anonymous_user: Option<String>,
    metrics: Arc<Metrics>,
    places: Quotas,
    alarms: Arc<Alarms>,
    listening: Listening,
    log_filter: OnceLock<LogFilter>,
    unread: Arc<Unread>,
    sampling: Sampling,
    new_connection_id: AtomicU64,
    new_consumer_id: AtomicU64,
}

impl Broker {
    /// Starts on what the store recovered; `now` is when the leases of its queues begin.
    ///
    /// # Errors
    /// The recovered state makes no sense, or a thread cannot be started.
    pub fn start(opened: Opened, settings: BrokerSettings, now: Now) -> Result<Arc<Self>, StoreError> {
        let Opened { log, pages, mut recovered } = opened;
        let timers = Arc::new(Timers::default());
        let metrics = Arc::<Metrics>::default();
        let BrokerSettings { product, version, local_only, anonymous_user, limits, alarms, cluster } =
            settings;
        let (places, alarms) = (Quotas::new(&limits), Arc::new(Alarms::new(alarms)));
        let unread = Arc::new(Unread::with(limits.unread_bytes_max));
        let (of_all, next_queue) = (Arc::new(CurrentLimits::new(limits)), recovered.next_queue);
        let policies = PolicyBook::recover(mem::take(&mut recovered.policies), Arc::clone(&log));
        let (of_log, of_timers) = (Arc::clone(&log), Arc::clone(&timers));
        let counted = (Arc::clone(&metrics), Arc::clone(&alarms));
        let context = BrokerContext::new(of_log, of_timers, of_all, next_queue, policies, counted);
        let accounts = Accounts::recover(recovered.auth.take(), Arc::clone(&log), local_only);
        let parameters = mem::take(&mut recovered.parameters);
        let parameters = GlobalParameters::recover(parameters, Arc::clone(&log));
        let (registry, clock) = (Arc::new(Registry::new(context)), Clock::starting(recovered.ahead_ms));
        let (vhosts, of_pages) = (Arc::clone(&registry), Arc::clone(&pages));
        let effects = EffectHandler::start(vhosts, of_pages, clock, now, !recovered.clean);
        let effects = effects.map_err(StoreError::Io)?;
        let broker = Arc::new(Self {
            registry,
            effects,
            accounts,
            attempts: Attempts::default(),
            parameters,
            node_name: match &cluster {
                Some(of) => format!("leveret@{}", of.node),
                None => format!("leveret@{}", machine::hostname()),
            },
            cluster,
            clients: Clients::default(),
            jobs: Jobs::default(),
            recent: OnceLock::new(),
            log,
            timers,
            product,
            version,
            anonymous_user,
            metrics,
            places,
            alarms,
            listening: Listening::default(),
            log_filter: OnceLock::new(),
            unread,
            sampling: Sampling::starting(now),
            new_connection_id: AtomicU64::new(1),
            new_consumer_id: AtomicU64::new(1),
        });
        broker.restore(&recovered);
        broker.registry.all().iter().for_each(|vhost| vhost.policies().apply_to_restored());
        let mut sizes_read = Ok(());
        broker.each_queue(|queue| {
            if sizes_read.is_ok() {
                sizes_read = queue.read_sizes(&*pages);
            }
        });
        sizes_read?;
        broker.start_queues(now);
        broker.registry.context().sweeps.start(&broker).map_err(StoreError::Io)?;
        Ok(broker)
    }

    /// After the last session: writes down what was delivered, and closes the log.
    ///
    /// # Errors
    /// The last changes could not be written.
    pub fn shutdown(&self) -> Result<(), StoreError> {
        self.jobs.stop_all();
        self.registry.context().sweeps.stop();
        let mut changes = Vec::new();
        self.each_queue(|queue| {
            if queue.is_durable() {
                queue.keep_letters();
                let delivered = queue.delivered_up_to().into_iter();
                changes.extend(delivered.map(|up_to| Change::Delivered { queue: queue.id, up_to }));
            }
        });
        self.log.append(&mut changes);
        self.log.close()
    }

    /// The messages that are known to be damaged on disk, run by run. Reads the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn damaged(&self) -> Result<Vec<DamagedRun>, StoreError> {
        self.effects.pages.damaged()
    }

    /// What is left of such a run. Reads the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn damaged_records(&self, run: &DamagedRun) -> Result<Vec<u8>, StoreError> {
        self.effects.pages.damaged_records(run)
    }

    /// Says which messages are damaged, and were left out of what was recovered.
    fn tell_of_damaged(&self, recovered: &Recovered) {
        for run in recovered.damaged.iter().take(DAMAGED_LOGGED_MAX) {
            let record = recovered.queues.iter().find(|queue| queue.record.id == run.queue);
            let queue = record.map_or_else(|| run.queue.to_string(), |queue| queue.record.name.clone());
            let DamagedRun { first, messages, bytes, .. } = *run;
            tracing::error!(queue, first, messages, bytes, "messages are damaged on disk and not delivered");
        }
        if recovered.damaged.len() > DAMAGED_LOGGED_MAX {
            let runs = recovered.damaged.len();
            tracing::error!(runs, "more messages are damaged: leveret ctl list_damaged lists them all");
        }
        self.metrics.damaged.add(recovered.damaged.iter().map(|run| u64::from(run.messages).max(1)).sum());
    }

    /// Brings all vhosts back.
    fn restore(&self, recovered: &Recovered) {
        self.tell_of_damaged(recovered);
        let (mut parts, mut orphans) = RecoveredVHost::all(recovered);
        if !orphans.is_empty() {
            self.log.append(&mut orphans);
        }
        for record in self.vhosts().list() {
            let part = parts.remove(record.name.as_str()).unwrap_or_default();
            self.registry.restore(&record.name, &part).configure(&record);
        }
        let deleting = self.accounts.show(|directory| directory.deleting().map(str::to_owned).collect());
        for name in Vec::<String>::into_iter(deleting) {
            let part = parts.remove(name.as_str()).unwrap_or_default();
            self.registry.restore_leaving(&name, &part);
        }
        for (name, part) in parts {
            // A deletion takes everything with it, so the file is damaged; messages are worth more
            // than an odd vhost.
            tracing::error!(
                vhost = name,
                "the data file has queues or exchanges of a vhost that does not exist: the vhost is created again"
            );
            let put = vec![AuthChange::PutVHost(VHostRecord::named(name))];
            let Ok(_ticket) = self.accounts.change(|_directory| Ok::<_, Infallible>(put));
            self.registry.restore(name, &part);
        }
    }

    /// The vhost `/`, which is there from the beginning and which most never leave. Once it was
    /// deleted, one in which nothing is and nothing can be declared.
    #[must_use]
    pub fn vhost(&self) -> Arc<VHost> {
        self.registry.root()
    }

    /// A vhost for those who have not opened one: nothing is in it, and nothing can be declared.
    #[must_use]
    pub fn nowhere(&self) -> &Arc<VHost> {
        self.registry.nowhere()
    }

    /// Its clocks.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.effects.clock
    }

    /// Shows every queue of every vhost, outside of all locks.
    pub fn each_queue(&self, mut visit: impl FnMut(&Arc<Queue>)) {
        self.registry.all().iter().for_each(|vhost| vhost.each_queue(&mut visit));
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// When queues want to be called.
    #[must_use]
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// `product` in the server's properties.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }

    /// `version` in the server's properties.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The user that clients are who log in by ANONYMOUS; none where that is not offered.
    #[must_use]
    pub fn anonymous_user(&self) -> Option<&str> {
        self.anonymous_user.as_deref()
    }

    /// What clients may ask for now.
    #[must_use]
    pub fn limits(&self) -> &CurrentLimits {
        &self.registry.context().limits
    }

    /// Clients may ask for this from now on. What is there stays, also where it is more than that;
    /// what was agreed upon with a connection holds until its end.
    pub fn set_limits(&self, limits: Limits) {
        self.places.set(&limits);
        self.unread.set_max(limits.unread_bytes_max);
        self.limits().set(limits);
    }

    /// What was counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What was counted, over time.
    #[must_use]
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Takes a sample of everything that is counted, unless there is one of that time. Call it
    /// every [`crate::statistics::TICK_MS`]; `usage` is what the process uses, as
    /// [`sampling::USAGE_NAMES`] has it. It takes about 0.2 ms for 1,000 queues.
    pub fn sample(&self, usage: [u64; USAGE], now: Now) {
        self.sampling.sample(self, usage, now);
    }

    /// How many connections and channels there may still be.
    #[must_use]
    pub fn places(&self) -> &Quotas {
        &self.places
    }

    /// The clients that have shaken hands, as an operator sees them.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// When it was started.
    #[must_use]
    pub fn started_at(&self) -> Now {
        self.effects.started_at
    }

    /// What is watched of memory and disk.
    #[must_use]
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// Whether new clients are let in.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// How the nodes of its cluster stand; without a cluster it is the only one.
    #[must_use]
    pub fn cluster_status(&self) -> ClusterStatus {
        self.cluster.as_ref().map_or_else(|| ClusterStatus::alone(&self.node_name), |of| (of.status)())
    }

    /// Whether it is the broker of a cluster: if its log ends, another node's goes on.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// What sets the filter of the log, once whoever made the log has said it.
    #[must_use]
    pub fn log_filter(&self) -> &OnceLock<LogFilter> {
        &self.log_filter
    }

    /// Who is there and may do what, for sessions.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Logins that succeeded and failed, and how long who fails waits.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// What operators do with users.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users { accounts: &self.accounts, vhosts: &self.registry }
    }

    /// What operators do with vhosts.
    #[must_use]
    pub fn vhosts(&self) -> VHosts<'_> {
        VHosts { accounts: &self.accounts, registry: &self.registry }
    }

    /// What operators do with policies.
    #[must_use]
    pub fn policies(&self) -> Policies<'_> {
        Policies { vhosts: &self.registry, effects: &self.effects }
    }

    /// What operators and tools keep by name.
    #[must_use]
    pub fn parameters(&self) -> &GlobalParameters {
        &self.parameters
    }

    /// What RabbitMQ's tools know it by among the nodes of a cluster: here, the only one.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// What operators do with messages that died and have nowhere to go.
    #[must_use]
    pub fn parked(&self) -> ParkedMessages<'_> {
        ParkedMessages(&self.effects)
    }

    /// Looks at messages, and changes nothing by it.
    #[must_use]
    pub fn browser(&self) -> Browser<'_> {
        Browser(&self.effects)
    }

    /// Takes single messages out of their places.
    #[must_use]
    pub fn transfers(&self) -> Transfers<'_> {
        Transfers(&self.effects)
    }

    /// Jobs that move messages.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Begins a job that moves messages.
    ///
    /// # Errors
    /// Too many run already, or the system has no thread for it.
    pub fn begin_job(&self, order: Order) -> Result<Arc<Job>, NotBegun> {
        self.jobs.begin(&self.effects, order)
    }

    /// Before a queue goes: sends all letters that stand in its line. Reads the disk.
    pub fn send_letters(&self, queue: &Arc<Queue>, now: Now) {
        self.effects.send_letters(queue, now);
    }

    /// What lies ready for all clients.
    #[must_use]
    pub fn unread(&self) -> &Arc<Unread> {
        &self.unread
    }

    /// Has the last lines of the log shown to who may see them; once.
    pub fn show_log(&self, lines: RecentLines) {
        let _those_that_came_first_stay = self.recent.set(lines);
    }

    /// The last lines of the log, the oldest first; none if nobody keeps them.
    #[must_use]
    pub fn recent_log(&self, count: usize) -> Vec<LogLine> {
        self.recent.get().map(|lines| lines.last(count)).unwrap_or_default()
    }

    /// Whether something is bound to the exchange of the log: see [`log_exchange`].
    #[inline]
    #[must_use]
    pub fn wants_log(&self) -> bool {
        self.registry.context().wants_log()
    }

    /// Whether something may be set that is in no vhost and has so many bytes.
    ///
    /// # Errors
    /// What there is too little of for that.
    pub fn admit(&self, bytes: impl Fn() -> usize) -> Result<(), Scarce> {
        let context = self.registry.context();
        if context.scarcity.now().is_some() {
            let more = Defined::of(bytes(), true);
            context.scarcity.admit(context.defined(), || more)?;
            context.scarcity.add_elsewhere(more.all);
        }
        Ok(())
    }

    /// Whether the store still commits.
    #[must_use]
    pub fn health(&self) -> Health {
        self.log.health()
    }

    /// What was done to the data file, if there is one.
    #[must_use]
    pub fn io(&self) -> Option<&IoCounters> {
        self.log.io()
    }

    /// What there is now of clients: what queues have is left out.
    #[must_use]
    pub fn gauges_without_queues(&self) -> Gauges {
        let metrics = &self.metrics;
        let left = |came: &Counter, went: &Counter| came.get().saturating_sub(went.get());
        Gauges {
            connections: left(&metrics.connections_opened, &metrics.connections_closed),
            channels: left(&metrics.channels_opened, &metrics.channels_closed),
            publishers: left(&metrics.publishers_started, &metrics.publishers_ended),
            ..Gauges::default()
        }
    }

    /// What there is now. Locks each queue once.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.gauges_with(|_queue, _stats| ())
    }

    /// As [`Self::gauges`]; shows each queue that is counted, with what it says of itself.
    pub fn gauges_with(&self, mut show: impl FnMut(&Arc<Queue>, QueueStats)) -> Gauges {
        let mut gauges = self.gauges_without_queues();
        self.each_queue(|queue| {
            let stats = queue.stats();
            let QueueStats { ready, unacked, consumers, parked, resident, .. } = stats;
            gauges.resident += resident as u64;
            if is_reply_queue(&queue.name) {
                // Part of its channel, as an operator sees it.
                return;
            }
            gauges.queues += 1;
            gauges.messages_ready += ready;
            gauges.messages_unacked += unacked;
            gauges.messages_parked += parked;
            gauges.consumers += u64::from(consumers);
            show(queue, stats);
        });
        gauges
    }

    /// An id for a connection.
    #[must_use]
    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.new_connection_id.fetch_add(1, Ordering::Relaxed))
    }

    /// An id for a consumer.
    #[must_use]
    pub fn new_consumer_id(&self) -> ConsumerId {
        ConsumerId(self.new_consumer_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a block into every queue of a route.
    pub fn enqueue(&self, route: &Route, block: Block, now: Now) -> Enqueued {
        // Some hundred queues take a worker's time already.
        blocking::run_many(QUEUE_EFFORT * route.queues.len(), || {
            let bytes = block.bytes().len();
            let mut batches = AtomicBatches::of(&*self.log);
            if route.deduplicates {
                let rooms = &mut Rooms::default();
                return enqueue_unseen(&self.effects, route, block, rooms, (now, batches.take(bytes)));
            }
            let block = Arc::new(block);
            let mut all = Enqueued::default();
            for queue in &route.queues {
                let batch = if route.atomic {
                    Some(batches.take(bytes))
                } else {
                    // What a queue has no memory for is written as well.
                    batches.make_room(bytes);
                    None
                };
                let (ticket, mut effects) = queue.enqueue(&block, now);
                all.add(ticket, mem::take(&mut effects.refused));
                self.effects.carry_out(queue, &effects, now, batch);
            }
            all
        })
    }

    /// Messages are acknowledged.
    pub fn settle(&self, queue: &Arc<Queue>, settled: &[Settled], now: Now) {
        let effects = queue.settle(settled, now);
        self.effects.carry_out(queue, &effects, now, None);
    }

    /// Messages come back to their places, some perhaps later; beyond the delivery limit they die.
    pub fn put_back(&self, queue: &Arc<Queue>, settled: &[Settled], how: Requeue, now: Now) {
        if how == Requeue::Overdue {
            let deliveries = count_of(settled);
            self.metrics.deliveries_timed_out.add(deliveries);
            queue.deliveries_timed_out.add(deliveries);
        }
        if count_of(settled) <= PORTION {
            let effects = queue.put_back(settled, how, now);
            self.effects.carry_out(queue, &effects, now, None);
            return;
        }
        // Nothing younger is dispatched before all of it is back.
        let paused = queue.pause();
        self.in_portions(settled, |portion| {
            let effects = queue.put_back(portion, how, now);
            self.effects.carry_out(queue, &effects, now, None);
        });
        drop(paused);
        if how != Requeue::Unsent {
            self.dispatch_again(queue, now);
        }
    }

    /// Does something with many settled messages, some at a time: in between others get at their
    /// queue, and the commit thread comes after.
    fn in_portions(&self, settled: &[Settled], mut each: impl FnMut(&[Settled])) {
        blocking::run(|| {
            in_portions(settled, PORTION, |portion| {
                self.log.wait_for_room();
                each(portion);
            });
        });
    }

    /// Messages are rejected: they are dead-lettered, or dropped.
    pub fn reject(&self, queue: &Arc<Queue>, settled: &[Settled], now: Now) {
        let reject = |portion: &[Settled]| {
            let effects = queue.reject(portion, now);
            self.effects.carry_out(queue, &effects, now, None);
        };
        if count_of(settled) <= PORTION { reject(settled) } else { self.in_portions(settled, reject) }
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// The queue is in exclusive use, or gone.
    pub fn subscribe(&self, queue: &Arc<Queue>, consumer: Consumer, now: Now) -> Result<(), BrokerError> {
        let effects = queue.subscribe(consumer, now)?;
        self.effects.carry_out(queue, &effects, now, None);
        Ok(())
    }

    /// Removes a consumer; what it holds stays unacknowledged. An auto-delete queue goes with its
    /// last one.
    pub fn cancel(&self, queue: &Arc<Queue>, id: ConsumerId, now: Now) {
        let effects = queue.cancel(id, now);
        self.effects.carry_out(queue, &effects, now, None);
    }

    /// As [`Broker::cancel`], but nothing is dealt to others before the next call for this queue:
    /// what the consumer gives back is older than what they would get.
    pub fn leave(&self, queue: &Arc<Queue>, id: ConsumerId, now: Now) {
        let effects = queue.leave(id, now);
        self.effects.carry_out(queue, &effects, now, None);
    }

    /// `bytes` of the records dealt to a consumer have been encoded.
    pub fn credit(&self, queue: &Arc<Queue>, id: ConsumerId, bytes: usize, now: Now) {
        let effects = queue.credit(id, bytes, now);
        self.effects.carry_out(queue, &effects, now, None);
    }

    /// Something is free under the limit of a channel: the queues that wait for it take their
    /// turns.
    pub fn take_turns(&self, limit: &Arc<ChannelLimit>, now: Now) {
        while let Some((queue, share)) = limit.next() {
            let effects = queue.take_turn(limit, share, now);
            self.effects.carry_out(&queue, &effects, now, None);
        }
    }

    /// What consumers hold has changed without this queue's doing: deal again.
    pub fn dispatch_again(&self, queue: &Arc<Queue>, now: Now) {
        let effects = queue.dispatch_again(now);
        self.effects.carry_out(queue, &effects, now, None);
    }

    /// Takes one message.
    pub fn get(&self, queue: &Arc<Queue>, no_ack: bool, mailbox: &Arc<Mailbox>, now: Now) -> Got {
        let (got, effects) = queue.get(no_ack, mailbox, now);
        self.effects.carry_out(queue, &effects, now, None);
        got
    }

    /// Drops everything that is ready, in parts, between which others may use the queue: what they
    /// bring meanwhile stays, as if it had come afterwards. It is durable when all of it is, and
    /// what was settled before.
    pub fn purge(&self, queue: &Arc<Queue>, now: Now) -> (u64, Ticket) {
        let ready = queue.purgeable();
        blocking::run_many(usize::try_from(ready).unwrap_or(usize::MAX), || {
            let mut purged = 0;
            loop {
                let (part, effects) = queue.purge_part(ready - purged, now);
                self.effects.carry_out(queue, &effects, now, None);
                purged += part;
                if part == 0 || purged >= ready {
                    break;
                }
            }
            (purged, if queue.is_durable() { self.log.last_appended() } else { Ticket(0) })
        })
    }

    /// Does what is due by the clock, for a bounded number of queues; [`Broker::timers`] says when
    /// more is.
    pub fn tick(&self, now: Now) {
        let due = self.timers.take_due(now.unix_ms, TICK_QUEUES_MAX);
        blocking::run_many(TICK_EFFORT * due.len(), || {
            for queue in due {
                effects::begin_turn();
                let effects = queue.tick(now);
                self.effects.carry_out(&queue, &effects, now, None);
            }
        });
    }

    /// Others have had their turn: the calls that this thread makes from now on may again do some
    /// of the work that would otherwise be left to others.
    pub fn begin_turn(&self) {
        effects::begin_turn();
    }

    /// Queues that were on disk keep to their limits and set their timers; their leases begin anew.
    fn start_queues(&self, now: Now) {
        self.each_queue(|queue| {
            let effects = queue.start(now);
            self.effects.carry_out(queue, &effects, now, None);
        });
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broker")
    }
}

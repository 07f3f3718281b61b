//! What exists in a vhost and what is bound to what: plain data, changed by one caller at a time.
//!
//! Names have been checked and refusals made before anything here is called. Every change to
//! durable things is described in `changes`, in an order in which it can be replayed. Invariants:
//! both ends of every binding exist; a binding is in the set of its source and in the source's
//! table; the destination knows its sources.
//!
//! A binding is stored once, with its source, in a set ordered by destination: whether it exists,
//! all of a source and all of a source to one destination are found without a search, and deleting
//! either end costs no more than its own bindings.
//!
//! What is deleted is gone at once for all who look, and in the changes; its bindings are removed
//! in parts (see `removal`).

mod defined;
mod removal;
#[cfg(test)]
mod tests;

pub use self::removal::{Gone, Removal};

pub use self::defined::Defined;
use self::removal::Leaving;
use crate::arguments::alternate_exchange;
use crate::arguments::exchange_type::DELAYED_MESSAGE;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::value::term;
use crate::auth::vhost::ROOT;
use crate::ids::{ConnectionId, QueueId};
use crate::message::headers::unreadable_delay;
use crate::message::table;
use crate::message::table::FieldTable;
use crate::queue::Queue;
use crate::queue::dedup::Deduplicator;
use crate::queue::delayed::exchange_of;
use crate::queue::reply::is_reply_queue;
use crate::routing::exchange::hash::hash;
use crate::routing::exchange::{BindingTable, RoutingTarget};
use crate::statistics::ExchangeFlow;
use crate::store::change::{BindingRecord, Change, ExchangeRecord, QueueRecord, StreamNote};
use crate::store::seen::SeenBy;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, OnceLock};

/// The exchanges that exist from the beginning, and whether they are internal. They are durable,
/// but no change ever tells of them.
const PREDECLARED: [(&str, ExchangeType, bool); 6] = [
    ("amq.direct", ExchangeType::Direct, false),
    ("amq.fanout", ExchangeType::Fanout, false),
    ("amq.topic", ExchangeType::Topic, false),
    ("amq.headers", ExchangeType::Headers, false),
    ("amq.match", ExchangeType::Headers, false),
    (TRACE, ExchangeType::Topic, true),
];

/// The exchange of the firehose (RabbitMQ: firehose.md).
pub const TRACE: &str = "amq.rabbitmq.trace";

/// The exchange to which the log goes; in the vhost `/` only.
pub const LOG: &str = "amq.rabbitmq.log";

/// How much of a delay that is no number the log shows, in characters.
const DELAY_SHOWN_MAX: usize = 100;

/// Those of a vhost.
fn predeclared(vhost: &str) -> impl Iterator<Item = (&'static str, ExchangeType, bool)> {
    let log = (vhost == ROOT).then_some((LOG, ExchangeType::Topic, true));
    PREDECLARED.into_iter().chain(log)
}

/// The exchanges, queues and bindings of a virtual host.
pub struct Topology {
    /// The name of the vhost.
    vhost: Arc<str>,
    exchanges: HashMap<Arc<str>, Exchange>,
    queues: HashMap<Arc<str>, Bound>,
    /// What goes through the default exchange.
    default_flow: Arc<ExchangeFlow>,
    owned: BTreeMap<(ConnectionId, QueueId), Arc<Queue>>,
    /// How many of the queues are the broker's own.
    own_queues: usize,
    /// How many bindings there are.
    bindings: usize,
    /// What nobody has counted yet.
    /// How much all of that is.
    defined: Defined,
    churn: Churn,
    /// Whether what is published is copied to the firehose.
    traced: bool,
    /// Counts the changes made to what exists or is bound.
    revision: u64,
    /// What is removed, and has bindings yet.
    leaving: Leaving,
    /// What was removed, and takes its time to be dropped.
    gone: Gone,
}

/// Queues that came and went, those of direct reply-to apart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Churn {
    /// New ones.
    pub created: u64,
    /// Those that are gone.
    pub deleted: u64,
}

/// A queue and where its bindings are.
struct Bound {
    queue: Arc<Queue>,
    sources: BTreeSet<Arc<str>>,
}

/// How an exchange was declared.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name.
    pub name: Arc<str>,
    /// How it routes.
    pub kind: ExchangeType,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted when the last binding from it goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Where messages wait that are to be routed later; only an exchange of the type
    /// `x-delayed-message` has it.
    pub delay: Option<Arc<Queue>>,
    /// All arguments as declared.
    pub arguments: FieldTable,
}

/// An exchange.
pub struct Exchange {
    /// How it was declared.
    pub declared: Arc<Declared>,
    /// The bindings from it, for routing.
    pub table: BindingTable<Target>,
    /// Where messages go that it cannot route, as declared or as a policy has it.
    pub alternate: Option<Arc<str>>,
    /// What it has seen, if it takes in each message once.
    pub dedup: Option<Arc<Deduplicator>>,
    /// What goes through it.
    pub flow: Arc<ExchangeFlow>,
    /// The log has told of a delay that is no number.
    told_of_delay: OnceLock<()>,
    bindings: BTreeSet<Binding>,
    /// The exchanges that have bindings to it.
    sources: BTreeSet<Arc<str>>,
}

/// The end of a binding that receives.
#[derive(Clone)]
pub enum Target {
    /// A queue.
    Queue(Arc<Queue>),
    /// An exchange.
    Exchange(Arc<Declared>),
}

/// A binding, as its source keeps it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The end that receives.
    pub target: Target,
    /// The binding key.
    pub key: Box<[u8]>,
    /// Arguments as an encoded table.
    pub arguments: Box<[u8]>,
}

/// Whether a vhost may have an exchange of this name from the beginning.
#[must_use]
pub fn is_predeclared(exchange: &str) -> bool {
    predeclared(ROOT).any(|(name, ..)| name == exchange)
}

impl Topology {
    /// What there is in a new vhost.
    #[must_use]
    pub fn new(vhost: Arc<str>) -> Self {
        let mut topology = Self {
            vhost,
            exchanges: HashMap::new(),
            queues: HashMap::new(),
            default_flow: Arc::default(),
            owned: BTreeMap::new(),
            own_queues: 0,
            bindings: 0,
            defined: Defined::default(),
            churn: Churn::default(),
            traced: false,
            revision: 0,
            leaving: Leaving::default(),
            gone: Gone::default(),
        };
        for (name, kind, internal) in predeclared(&topology.vhost.clone()) {
            let declared = Declared {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                delay: None,
                arguments: FieldTable::default(),
            };
            topology.restore_exchange(declared);
        }
        topology
    }

    /// The name of the vhost.
    #[must_use]
    pub fn vhost(&self) -> &Arc<str> {
        &self.vhost
    }

    /// A number that is another one after each change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes routes that were found before be looked for again.
    pub fn renew(&mut self) {
        self.revision += 1;
    }

    /// What was removed since the last call, to be dropped once nobody waits for it.
    pub fn take_gone(&mut self) -> Gone {
        mem::take(&mut self.gone)
    }

    /// The queue of this name.
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name).map(|bound| &bound.queue)
    }

    /// The exchange of this name; the default exchange is none of them.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// Sends what an exchange cannot route elsewhere.
    pub fn set_alternate(&mut self, name: &str, alternate: Option<Arc<str>>) {
        self.revision += 1;
        if let Some(exchange) = self.exchanges.get_mut(name) {
            exchange.alternate = alternate;
        }
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.values().map(|bound| &bound.queue)
    }

    /// All exchanges; the default exchange is none of them.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// What goes through the default exchange.
    pub fn default_flow(&self) -> &Arc<ExchangeFlow> {
        &self.default_flow
    }

    /// How many queues there are, those of direct reply-to and of delayed messages included.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Whether what is published is copied to the firehose.
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    /// From now on it is, or is not; routes that were found before are looked for again.
    pub fn set_traced(&mut self, traced: bool) {
        self.revision += 1;
        self.traced = traced;
    }

    /// What came and went since it was asked last.
    pub fn take_churn(&mut self) -> Churn {
        mem::take(&mut self.churn)
    }

    /// How many of them clients have declared.
    pub fn client_queue_count(&self) -> usize {
        self.queues.len() - self.own_queues
    }

    /// How many exchanges there are, without the default exchange.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings there are.
    pub fn binding_count(&self) -> usize {
        self.bindings
    }

    /// How much that is, what leaves included.
    pub fn defined(&self) -> Defined {
        self.defined
    }

    /// The exclusive queues of a connection.
    pub fn owned_by(&self, owner: ConnectionId) -> impl Iterator<Item = &Arc<Queue>> {
        let (first, last) = ((owner, QueueId(0)), (owner, QueueId(u64::MAX)));
        self.owned.range(first..=last).map(|(_, queue)| queue)
    }

    /// A new queue, whose name is not taken.
    pub fn add_queue(&mut self, queue: Arc<Queue>, changes: &mut Vec<Change>) {
        if queue.settings.durable {
            changes.push(Change::DeclareQueue(QueueRecord {
                id: queue.id,
                vhost: self.vhost.to_string(),
                name: queue.name.to_string(),
                auto_delete: queue.settings.auto_delete,
                arguments: encoded(&queue.settings.arguments),
            }));
        }
        if queue.is_stream() {
            changes.push(Change::Stream { queue: queue.id, note: StreamNote::Begins(0) });
        }
        self.churn.created += u64::from(!is_reply_queue(&queue.name));
        self.restore_queue(queue);
    }

    /// As [`Self::add_queue`], for what is on disk already.
    pub fn restore_queue(&mut self, queue: Arc<Queue>) {
        self.revision += 1;
        if let Some(owner) = queue.owner() {
            self.owned.insert((owner, queue.id), Arc::clone(&queue));
        }
        self.own_queues += usize::from(is_own(&queue.name));
        self.defined += Defined::of_queue(&queue);
        self.queues.insert(Arc::clone(&queue.name), Bound { queue, sources: BTreeSet::new() });
    }

    /// A new exchange, whose name is not taken.
    pub fn add_exchange(&mut self, declared: Declared, changes: &mut Vec<Change>) {
        if declared.durable {
            changes.push(Change::DeclareExchange(ExchangeRecord {
                vhost: self.vhost.to_string(),
                name: declared.name.to_string(),
                kind: declared.type_name().to_owned(),
                auto_delete: declared.auto_delete,
                internal: declared.internal,
                arguments: encoded(&declared.arguments),
            }));
        }
        self.restore_exchange(declared);
    }

    /// As [`Self::add_exchange`], for what is on disk already.
    pub fn restore_exchange(&mut self, declared: Declared) {
        self.revision += 1;
        let table = BindingTable::new(declared.kind, &declared.arguments);
        let by = SeenBy::Exchange { vhost: self.vhost.to_string(), name: declared.name.to_string() };
        let dedup = Deduplicator::new(by, declared.durable, &declared.arguments);
        let alternate = alternate_exchange(&declared.arguments).map(Arc::from);
        let name = Arc::clone(&declared.name);
        self.defined += Defined::of_exchange(&declared);
        let (declared, bindings, sources) = (Arc::new(declared), BTreeSet::new(), BTreeSet::new());
        let (flow, told_of_delay) = (Arc::default(), OnceLock::new());
        let exchange = Exchange { declared, table, alternate, dedup, flow, told_of_delay, bindings, sources };
        self.exchanges.insert(name, exchange);
    }

    /// Makes a binding, both ends of which exist; nothing happens when it exists.
    pub fn bind(&mut self, source: &str, binding: Binding, changes: &mut Vec<Change>) {
        let Some(exchange) = self.exchanges.get_mut(source) else { return };
        if exchange.bindings.contains(&binding) {
            return;
        }
        self.revision += 1;
        self.bindings += 1;
        self.defined += Defined::of_binding(&exchange.declared, &binding);
        exchange.table.insert(&binding.key, &binding.arguments, binding.target.clone());
        record(Change::Bind, (&self.vhost, &exchange.declared), &binding, changes);
        let (name, target) = (Arc::clone(&exchange.declared.name), binding.target.clone());
        exchange.bindings.insert(binding);
        if let Some(sources) = self.sources_of(&target) {
            sources.insert(name);
        }
    }

    /// Whether there is such a binding.
    #[must_use]
    pub fn is_bound(&self, source: &str, binding: &Binding) -> bool {
        self.exchanges.get(source).is_some_and(|exchange| exchange.bindings.contains(binding))
    }

    /// Whether any binding leads from `source` to `target`.
    #[must_use]
    pub fn leads_to(&self, source: &str, target: &Target) -> bool {
        self.exchanges.get(source).is_some_and(|exchange| exchange.to(target).next().is_some())
    }

    /// Removes a binding, and its source if that is an auto-delete exchange and this was its last;
    /// nothing happens when it does not exist.
    pub fn unbind(&mut self, source: &str, binding: &Binding, changes: &mut Vec<Change>) -> Option<Removal> {
        let exchange = self.exchanges.get_mut(source)?;
        if !exchange.bindings.remove(binding) {
            return None;
        }
        self.revision += 1;
        self.bindings -= 1;
        self.defined -= Defined::of_binding(&exchange.declared, binding);
        exchange.table.remove(&binding.key, &binding.arguments, &binding.target);
        record(Change::Unbind, (&self.vhost, &exchange.declared), binding, changes);
        let was_last = exchange.to(&binding.target).next().is_none();
        let is_bare = exchange.is_bare();
        if was_last && let Some(sources) = self.sources_of(&binding.target) {
            sources.remove(source);
        }
        if is_bare { self.remove_exchange(source, changes) } else { None }
    }

    /// The exchanges that have bindings to `target`, which exists or is leaving.
    fn sources_of(&mut self, target: &Target) -> Option<&mut BTreeSet<Arc<str>>> {
        match target {
            Target::Queue(queue) => {
                let here = self.queues.get_mut(&queue.name);
                here.or_else(|| self.leaving.queue_mut(&queue.name)).map(|bound| &mut bound.sources)
            }
            Target::Exchange(declared) => {
                let here = self.exchanges.get_mut(&declared.name);
                here.or_else(|| self.leaving.exchange_mut(&declared.name))
                    .map(|exchange| &mut exchange.sources)
            }
        }
    }

    /// Whether anything is bound to an exchange, so that it may not be deleted "if unused".
    pub fn is_used(&self, exchange: &Exchange) -> bool {
        self.bindings_of(exchange).next().is_some()
    }

    /// All bindings from an exchange, by their destinations.
    pub fn bindings_of<'a>(&'a self, exchange: &'a Exchange) -> impl Iterator<Item = &'a Binding> {
        exchange.bindings.iter().filter(|binding| !self.has_left(&binding.target))
    }
}

impl Exchange {
    /// Whether it is to be deleted once a binding was removed.
    pub fn is_bare(&self) -> bool {
        self.declared.auto_delete && self.bindings.is_empty()
    }

    /// Logs the first message with an `x-delay` that is no number, which is routed at once.
    pub(super) fn tell_of_unreadable_delay(&self, vhost: &str, properties: &[u8]) {
        if self.told_of_delay.get().is_none()
            && let Some(value) = unreadable_delay(properties)
            && self.told_of_delay.set(()).is_ok()
        {
            let kind = table::type_name(&value);
            let value: String = term(&value).chars().take(DELAY_SHOWN_MAX).collect();
            tracing::warn!(vhost, exchange = %self.declared.name, value, kind,
                "a message was not delayed: its header 'x-delay' is not a number of milliseconds");
        }
    }

    /// The bindings to one destination.
    fn to(&self, target: &Target) -> impl Iterator<Item = &Binding> {
        let first = Binding { target: target.clone(), key: Box::default(), arguments: Box::default() };
        self.bindings.range(first..).take_while(move |binding| binding.target == *target)
    }
}

impl Declared {
    /// Its type, as clients write it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        if self.delay.is_some() { DELAYED_MESSAGE } else { self.kind.name() }
    }
}

impl Target {
    /// Whether it survives a restart.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.settings.durable,
            Self::Exchange(declared) => declared.durable,
        }
    }

    /// What RabbitMQ calls the type of this queue; nothing for an exchange.
    pub fn queue_type(&self) -> Option<&'static str> {
        match self {
            Self::Queue(queue) => Some(queue.settings.kind.rabbit_type()),
            Self::Exchange(_) => None,
        }
    }
}

impl RoutingTarget for Target {
    fn place(&self) -> u64 {
        match self {
            Self::Queue(queue) => hash(queue.name.as_bytes()),
            Self::Exchange(declared) => !hash(declared.name.as_bytes()),
        }
    }
}

/// Queues by age, then exchanges by name: what a set needs to find a target again.
impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Queue(one), Self::Queue(other)) => one.id.cmp(&other.id),
            (Self::Exchange(one), Self::Exchange(other)) => one.name.cmp(&other.name),
            (Self::Queue(_), Self::Exchange(_)) => Ordering::Less,
            (Self::Exchange(_), Self::Queue(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Target {}

/// The bytes of a table, for what is stored and compared as bytes.
pub(crate) fn encoded(arguments: &FieldTable) -> Vec<u8> {
    let mut bytes = Vec::new();
    table::encode(arguments, &mut bytes);
    bytes
}

/// Tells of a binding whose both ends are durable.
fn record(
    change: fn(BindingRecord) -> Change,
    (vhost, source): (&str, &Declared),
    binding: &Binding,
    changes: &mut Vec<Change>,
) {
    if !source.durable || !binding.target.is_durable() {
        return;
    }
    let (to_exchange, destination) = match &binding.target {
        Target::Queue(queue) => (false, queue.name.to_string()),
        Target::Exchange(declared) => (true, declared.name.to_string()),
    };
    changes.push(change(BindingRecord {
        vhost: vhost.to_owned(),
        source: source.name.to_string(),
        to_exchange,
        destination,
        routing_key: binding.key.to_vec(),
        arguments: binding.arguments.to_vec(),
    }));
}

/// Whether a queue of this name is part of something else: a channel that takes replies, or an
/// exchange that delays.
fn is_own(queue: &str) -> bool {
    is_reply_queue(queue) || exchange_of(queue).is_some()
}

//! Exchanges: how a routing key or headers choose among what is bound.
//!
//! Each type is a structure of its own in a file of its own, over targets it knows nothing of. A
//! binding is put in and taken out as often as it is made and removed; a target is shown at least
//! once per match, and made unique later.

pub mod consistent_hash;
pub mod direct;
pub mod fanout;
pub mod hash;
pub mod headers;
pub mod local_random;
pub mod modulus_hash;
pub mod multi_set;
pub mod random;
pub mod shrink;
pub mod topic;
pub mod weighted_set;

use self::consistent_hash::{ConsistentHash, HashOn};
use self::direct::Direct;
use self::fanout::Fanout;
use self::headers::Headers;
use self::modulus_hash::ModulusHash;
use self::random::Random;
use self::topic::{LongMatches, Topic};
use crate::arguments::exchange_type::ExchangeType;
use crate::error::BrokerError;
use crate::message::table::FieldTable;
use crate::message::{properties, table};

/// Whether an exchange of a type may have such a binding; `queue_type` is RabbitMQ's name for the
/// type of the queue at its end, or nothing for an exchange.
///
/// # Errors
/// It may not.
pub fn check_binding(
    exchange_type: ExchangeType,
    key: &[u8],
    arguments: &FieldTable,
    queue_type: Option<&str>,
) -> Result<(), BrokerError> {
    match exchange_type {
        ExchangeType::Headers => headers::check(arguments),
        ExchangeType::ConsistentHash => consistent_hash::weight(key).map(|_| ()),
        ExchangeType::LocalRandom => local_random::check(key, queue_type),
        ExchangeType::Direct
        | ExchangeType::Fanout
        | ExchangeType::Topic
        | ExchangeType::ModulusHash
        | ExchangeType::Random => Ok(()),
    }
}

/// What a binding leads to, as far as exchanges that choose have to know it.
pub trait RoutingTarget: Ord + Clone {
    /// A number made of what it is and of its name: the same after a restart, or when it is
    /// declared again.
    fn place(&self) -> u64;
}

/// What decides where a message goes.
#[derive(Debug, Clone, Copy)]
pub struct RoutingInput<'a> {
    /// Its routing key.
    pub routing_key: &'a [u8],
    /// Its properties: flags and list, as received.
    pub properties: &'a [u8],
}

/// The bindings of one exchange, arranged for routing.
#[derive(Debug)]
pub enum BindingTable<T> {
    /// See [`direct`].
    Direct(Direct<T>),
    /// See [`fanout`].
    Fanout(Fanout<T>),
    /// See [`topic`].
    Topic(Topic<T>),
    /// See [`headers`].
    Headers(Headers<T>),
    /// See [`consistent_hash`].
    ConsistentHash(ConsistentHash<T>),
    /// See [`modulus_hash`].
    ModulusHash(ModulusHash<T>),
    /// See [`random`], and [`local_random`].
    Random(Random<T>),
}

impl<T: RoutingTarget> BindingTable<T> {
    /// No bindings; the arguments are those of the exchange, and what is wrong with one makes it
    /// count as absent.
    #[must_use]
    pub fn new(kind: ExchangeType, arguments: &FieldTable) -> Self {
        match kind {
            ExchangeType::Direct => Self::Direct(Direct::default()),
            ExchangeType::Fanout => Self::Fanout(Fanout::default()),
            ExchangeType::Topic => Self::Topic(Topic::default()),
            ExchangeType::Headers => Self::Headers(Headers::default()),
            ExchangeType::ConsistentHash => Self::ConsistentHash(ConsistentHash::new(HashOn::of(arguments))),
            ExchangeType::ModulusHash => Self::ModulusHash(ModulusHash::default()),
            ExchangeType::Random | ExchangeType::LocalRandom => Self::Random(Random::default()),
        }
    }

    /// Binds `target`; `arguments` is an encoded table.
    pub fn insert(&mut self, key: &[u8], arguments: &[u8], target: T) {
        match self {
            Self::Direct(direct) => direct.insert(key, target),
            Self::Fanout(fanout) => fanout.insert(target),
            Self::Topic(topic) => topic.insert(key, target),
            Self::Headers(headers) => headers.insert(arguments, target),
            Self::ConsistentHash(exchange) => exchange.insert(key, target),
            Self::ModulusHash(exchange) => exchange.insert(target),
            Self::Random(exchange) => exchange.insert(target),
        }
    }

    /// Takes back what was inserted once.
    pub fn remove(&mut self, key: &[u8], arguments: &[u8], target: &T) {
        match self {
            Self::Direct(direct) => direct.remove(key, target),
            Self::Fanout(fanout) => fanout.remove(target),
            Self::Topic(topic) => topic.remove(key, target),
            Self::Headers(headers) => headers.remove(arguments, target.clone()),
            Self::ConsistentHash(exchange) => exchange.remove(target),
            Self::ModulusHash(exchange) => exchange.remove(target),
            Self::Random(exchange) => exchange.remove(target),
        }
    }

    /// Whether each routing key of a message is looked up; otherwise the first one stands for all.
    pub fn reads_all_keys(&self) -> bool {
        matches!(self, Self::Direct(_) | Self::Topic(_))
    }

    /// Whether all messages with one routing key go the same way: nothing of them beside it plays a
    /// part, nor does chance.
    pub fn goes_by_key_alone(&self) -> bool {
        match self {
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) | Self::ModulusHash(_) => true,
            Self::Headers(headers) => headers.is_empty(),
            Self::ConsistentHash(exchange) => exchange.goes_by_key_alone(),
            Self::Random(exchange) => !exchange.has_choice(),
        }
    }

    /// Shows where a message goes, each target once or more. How much was looked at for it, beside
    /// the targets. What takes long is added to `long` instead, if it is not known there.
    /// Properties that do not decode, which the session lets nobody publish, count as absent.
    pub fn route(
        &self,
        message: RoutingInput<'_>,
        long: &mut LongMatches<T>,
        visit: impl FnMut(&T),
    ) -> usize {
        match self {
            Self::Direct(direct) => direct.route(message.routing_key, visit),
            Self::Fanout(fanout) => fanout.route(visit),
            Self::Topic(topic) => return topic.route(message.routing_key, long, visit),
            Self::Headers(headers) if headers.is_empty() => {}
            Self::Headers(headers) => {
                let bytes = properties::decode(message.properties).unwrap_or_default().headers;
                let decoded = table::decode(bytes.unwrap_or_default()).unwrap_or_default();
                return headers.route(&decoded, visit);
            }
            Self::ConsistentHash(exchange) => return exchange.route(message, visit),
            Self::ModulusHash(exchange) => exchange.route(message.routing_key, visit),
            Self::Random(exchange) => exchange.route(visit),
        }
        0
    }
}

#[cfg(test)]
impl RoutingTarget for &'static str {
    fn place(&self) -> u64 {
        hash::hash(self.as_bytes())
    }
}

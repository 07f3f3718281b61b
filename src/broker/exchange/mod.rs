//! Exchanges: how a routing key or headers choose among what is bound.
//!
//! Each type is a structure of its own in a file of its own, over targets it knows nothing of. A binding is put in and
//! taken out as often as it is made and removed; a target is shown at least once per match, and made unique later.

pub mod bag;
pub mod direct;
pub mod fanout;
pub mod headers;
pub mod topic;

use self::direct::Direct;
use self::fanout::Fanout;
use self::headers::Headers;
use self::topic::Topic;
use crate::error::AmqpError;
use crate::wire::{properties, table};

/// The type of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The routing key equals the binding key.
    Direct,
    /// Everything that is bound.
    Fanout,
    /// The routing key matches a pattern.
    Topic,
    /// The headers match the binding's arguments.
    Headers,
}

impl Kind {
    /// The type of this name.
    ///
    /// # Errors
    /// 406 when there is none.
    pub fn named(name: &str) -> Result<Self, AmqpError> {
        match name {
            "direct" => Ok(Self::Direct),
            "fanout" => Ok(Self::Fanout),
            "topic" => Ok(Self::Topic),
            "headers" => Ok(Self::Headers),
            "" => Err(AmqpError::Precondition("invalid exchange type ''".to_owned())),
            other => Err(AmqpError::Precondition(format!("unknown exchange type '{other}'"))),
        }
    }

    /// Its name, as clients write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// What decides where a message goes.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its routing key.
    pub routing_key: &'a [u8],
    /// Its properties: flags and list, as received.
    pub properties: &'a [u8],
}

/// The bindings of one exchange, arranged for routing.
#[derive(Debug)]
pub enum Table<T> {
    /// See [`direct`].
    Direct(Direct<T>),
    /// See [`fanout`].
    Fanout(Fanout<T>),
    /// See [`topic`].
    Topic(Topic<T>),
    /// See [`headers`].
    Headers(Headers<T>),
}

impl<T: Ord + Clone> Table<T> {
    /// No bindings.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::Direct(Direct::default()),
            Kind::Fanout => Self::Fanout(Fanout::default()),
            Kind::Topic => Self::Topic(Topic::default()),
            Kind::Headers => Self::Headers(Headers::default()),
        }
    }

    /// Binds `target`; `arguments` is an encoded table.
    pub fn insert(&mut self, key: &[u8], arguments: &[u8], target: T) {
        match self {
            Self::Direct(direct) => direct.insert(key, target),
            Self::Fanout(fanout) => fanout.insert(target),
            Self::Topic(topic) => topic.insert(key, target),
            Self::Headers(headers) => headers.insert(arguments, target),
        }
    }

    /// Takes back what was inserted once.
    pub fn remove(&mut self, key: &[u8], arguments: &[u8], target: &T) {
        match self {
            Self::Direct(direct) => direct.remove(key, target),
            Self::Fanout(fanout) => fanout.remove(target),
            Self::Topic(topic) => topic.remove(key, target),
            Self::Headers(headers) => headers.remove(arguments, target.clone()),
        }
    }

    /// Whether the routing key of a message plays a part.
    pub fn reads_key(&self) -> bool {
        matches!(self, Self::Direct(_) | Self::Topic(_))
    }

    /// Whether the headers of a message play a part.
    pub fn reads_headers(&self) -> bool {
        matches!(self, Self::Headers(headers) if !headers.is_empty())
    }

    /// Shows where a message goes, each target once or more.
    ///
    /// # Errors
    /// 502 when the headers have to be looked at and do not decode.
    pub fn route<'a>(&'a self, message: Message<'_>, visit: impl FnMut(&'a T)) -> Result<(), AmqpError> {
        match self {
            Self::Direct(direct) => direct.route(message.routing_key, visit),
            Self::Fanout(fanout) => fanout.route(visit),
            Self::Topic(topic) => topic.route(message.routing_key, visit),
            Self::Headers(headers) if headers.is_empty() => {}
            Self::Headers(headers) => {
                let bytes = properties::decode(message.properties)?.headers;
                headers.route(&table::decode(bytes.unwrap_or_default())?, visit);
            }
        }
        Ok(())
    }
}

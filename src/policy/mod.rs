//! Policies: what operators say of queues and exchanges by their names, beside what was declared
//! (RabbitMQ: policies.md). Values and rules: no I/O, no lock, no log, and nothing of what comes of
//! them in a queue.
//!
//! A [`Policy`] is checked when it is made; a [`Book`](book::Book) holds all of them and tells
//! which one, and which operator's policy, is in effect for an object, and what both amount to.
//! What a key may say is in [`KEYS`].

pub mod book;
pub mod key;

use self::key::{KEYS, PolicyValueRule};
use crate::auth::pattern::Pattern;
use crate::auth::user::check_name;
use crate::clock::interval_ms;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of a string in a definition, at most: what fits into a name or a routing key.
const TEXT_MAX: usize = 255;

/// A policy: a pattern of names, a priority and the settings it applies (RabbitMQ: policies.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The vhost in which it is.
    pub vhost: String,
    /// Its name, which no other of the same rank has there.
    pub name: String,
    /// A regular expression; the policy is for objects in whose names it is found.
    pub pattern: String,
    /// The kinds of objects that it is for.
    pub apply_to: ApplyTo,
    /// Of several policies for an object the one with the highest is in effect.
    pub priority: i64,
    /// Its keys and values.
    pub definition: Definition,
}

/// What a policy says, by key.
pub type Definition = BTreeMap<String, Value>;

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array of whole numbers.
    Integers(Vec<i64>),
    /// Anything else, which no key takes, as it is shown in a refusal.
    Other(String),
}

/// Whose policy it is. An object has one of each rank, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A user's.
    User,
    /// An operator's, which a user's cannot exceed.
    Operator,
}

/// The kinds of objects that a policy is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

/// What a policy can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A classic queue.
    ClassicQueue,
    /// A quorum queue.
    QuorumQueue,
    /// A stream.
    Stream,
    /// An exchange.
    Exchange,
}

/// How a [`Book`](book::Book) becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChange {
    /// A policy is there, in place of any of the same rank and name.
    Put(Rank, Policy),
    /// A policy is gone.
    Delete {
        /// Its rank.
        rank: Rank,
        /// Its vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
}

impl Policy {
    /// Whether it can be used by its rank.
    ///
    /// # Errors
    /// In RabbitMQ's words, why not.
    pub fn check(&self, rank: Rank) -> Result<(), String> {
        check_name("policy", &self.name)?;
        check_name("vhost", &self.vhost)?;
        compile(&self.pattern)
            .map_err(|why| format!("pattern should be regular expression but is invalid: {why}"))?;
        if self.definition.is_empty() {
            return Err("no policy provided".to_owned());
        }
        for (name, value) in &self.definition {
            let Some(key) = KEYS.iter().find(|key| key.name == *name && key.is_for(rank)) else { continue };
            key.rule.check(value)?;
            if matches!(value, Value::Text(text) if text.len() > TEXT_MAX) {
                return Err(format!("the value of {name} has more than {TEXT_MAX} bytes"));
            }
        }
        let unknown = |name: &str| !KEYS.iter().any(|key| key.name == name && key.is_for(rank));
        let unknown: Vec<String> = self
            .definition
            .iter()
            .filter(|(name, _)| unknown(name))
            .map(|(name, value)| format!("{{<<{name:?}>>,{value}}}"))
            .collect();
        if !unknown.is_empty() {
            let said = format!("[{}] are not recognised policy settings", unknown.join(","));
            let is_users = |name: &String| key::is_used(Rank::User, name) && !key::is_used(rank, name);
            if !self.definition.keys().any(is_users) {
                return Err(said);
            }
            let names = KEYS.iter().map(|key| key.name).filter(|name| key::is_used(rank, name));
            let names: Vec<&str> = names.collect();
            return Err(format!("{said}; operator policies may set: {}", names.join(", ")));
        }
        check_delays(&self.definition)
    }

    /// Whether it is for an object of this kind and name.
    #[must_use]
    pub fn matches(&self, object: Object, name: &str) -> bool {
        self.is_for(object) && compile(&self.pattern).is_ok_and(|pattern| pattern.matches(name.as_bytes()))
    }

    /// Whether it is for objects of this kind: some keys make no sense for all, and then nothing of
    /// the policy does.
    #[must_use]
    pub fn is_for(&self, object: Object) -> bool {
        let meant = match self.apply_to {
            ApplyTo::All => true,
            ApplyTo::Queues => object != Object::Exchange,
            ApplyTo::ClassicQueues => object == Object::ClassicQueue,
            ApplyTo::QuorumQueues => object == Object::QuorumQueue,
            ApplyTo::Streams => object == Object::Stream,
            ApplyTo::Exchanges => object == Object::Exchange,
        };
        let foreign =
            |name: &String| KEYS.iter().any(|key| key.name == *name && key.never_on.contains(&object));
        meant && !self.definition.keys().any(foreign)
    }
}

/// What RabbitMQ asks of the keys of delayed retries together.
fn check_delays(definition: &Definition) -> Result<(), String> {
    let number = |key: &str| match definition.get(key) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let (least, most) = (number("delayed-retry-min"), number("delayed-retry-max"));
    match definition.get("delayed-retry-type") {
        Some(Value::Text(kind)) if kind != "disabled" && least.is_none() => {
            return Err(format!("delayed-retry-min is required when delayed-retry-type is {kind}"));
        }
        _ => {}
    }
    match (least, most) {
        (Some(least), Some(most)) if most < least => {
            Err(format!("delayed-retry-max ({most}) must not be smaller than delayed-retry-min ({least})"))
        }
        _ => Ok(()),
    }
}

/// A pattern ready for use. An empty one is found in every name, other than among permissions.
fn compile(pattern: &str) -> Result<Pattern, String> {
    if pattern.is_empty() { Ok(Pattern::Any) } else { Pattern::compile(pattern) }
}

impl ApplyTo {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::All, "all"),
        (Self::Queues, "queues"),
        (Self::ClassicQueues, "classic_queues"),
        (Self::QuorumQueues, "quorum_queues"),
        (Self::Streams, "streams"),
        (Self::Exchanges, "exchanges"),
    ];

    /// As operators write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(of, _)| *of == self).map_or("all", |(_, name)| name)
    }

    /// What an operator wrote.
    ///
    /// # Errors
    /// In RabbitMQ's words, that there is no such thing.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(_, of)| *of == name).map(|(of, _)| *of);
        found.ok_or_else(|| {
            format!(
                "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                 'streams', 'exchanges', or 'all'"
            )
        })
    }
}

/// As the Erlang term that RabbitMQ shows.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) if text.is_empty() => f.write_str("<<>>"),
            Self::Text(text) => write!(f, "<<{text:?}>>"),
            Self::Integers(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
                write!(f, "[{}]", numbers.join(","))
            }
            Self::Other(shown) => f.write_str(shown),
        }
    }
}

impl PolicyValueRule {
    /// Refuses a value that a key cannot have.
    fn check(self, value: &Value) -> Result<(), String> {
        let refused = |what: &str| Err(format!("{value} is not a valid {what}"));
        let fits = match (self, value) {
            (Self::Range { least, most, .. }, Value::Integer(number)) => (least..=most).contains(number),
            (Self::Text(_), Value::Text(_)) => true,
            (Self::OneOf(names, _), Value::Text(text)) => names.contains(&&**text),
            (Self::Interval(_), Value::Text(text)) => interval_ms(text).is_some(),
            (Self::Delays(_), Value::Integers(delays)) => {
                (1..=key::DELAYS_MAX).contains(&delays.len())
                    && delays.iter().all(|ms| (0..=key::TIME_MAX_MS).contains(ms))
            }
            (Self::Denied(why), _) => return Err(why.to_owned()),
            _ => false,
        };
        if fits { Ok(()) } else { refused(self.what()) }
    }
}

#[cfg(test)]
mod tests;

//! What policies may say: every key, its values in RabbitMQ's words, what it is not for, and how an
//! operator's value and a user's are one.
//!
//! What a key does is what the argument of the same name with `x-` before it does; the broker's
//! table of arguments says so, and what counts when both are there. Keys that no argument there
//! answers to are taken and do nothing on one node.

use super::{Object, Rank, Value};

/// The longest time in milliseconds, ten years; RabbitMQ's own bound.
pub const TIME_MAX_MS: i64 = 315_360_000_000;

/// Retry delays at most.
pub const DELAYS_MAX: usize = 100;

/// The largest segment of a stream (RabbitMQ: `MAX_STREAM_MAX_SEGMENT_SIZE`).
pub const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// A key that policies may set: its values, where it applies, and how values are merged.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub rule: PolicyValueRule,
    /// What it makes no sense for: a policy with it is not for those.
    pub never_on: &'static [Object],
    /// How an operator's value and a user's are one; none for a key that is not for operators.
    pub merge: Option<Merge>,
}

/// What values a key takes; each with what a wrong one is said not to be.
#[derive(Debug, Clone, Copy)]
pub enum PolicyValueRule {
    /// A whole number.
    Range {
        /// The smallest value.
        least: i64,
        /// The largest value.
        most: i64,
        /// What it should be.
        what: &'static str,
    },
    /// A string.
    Text(&'static str),
    /// One of these strings.
    OneOf(&'static [&'static str], &'static str),
    /// An interval such as `7D`.
    Interval(&'static str),
    /// An array of times.
    Delays(&'static str),
    /// Nothing, and why.
    Denied(&'static str),
}

/// What comes of an operator's value and a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The smaller.
    Least,
    /// The larger.
    Most,
    /// The smaller; when one is negative, which means no limit, the larger.
    Limit,
    /// The operator's.
    Operator,
}

const STREAM: &[Object] = &[Object::Stream];
const CLASSIC_QUORUM: &[Object] = &[Object::ClassicQueue, Object::QuorumQueue];
const CLASSIC_STREAM: &[Object] = &[Object::ClassicQueue, Object::Stream];
const QUORUM_STREAM: &[Object] = &[Object::QuorumQueue, Object::Stream];
const ALL_QUEUES: &[Object] = &[Object::ClassicQueue, Object::QuorumQueue, Object::Stream];

const RETRY_DELAYS: PolicyValueRule = PolicyValueRule::Delays(
    "value of retry-delays. Must be 1 to 100 times in milliseconds, as in [1000,60000]",
);

const LEAST: Option<Merge> = Some(Merge::Least);
const MOST: Option<Merge> = Some(Merge::Most);

/// All keys.
pub static KEYS: &[Key] = &[
    key("alternate-exchange", PolicyValueRule::Text("alternate exchange name"), &[], None),
    key("consumer-timeout", at_least(0, "consumer timeout"), &[], None),
    key("consumer-disconnected-timeout", at_least(0, "consumer disconnected timeout"), &[], None),
    key("dead-letter-exchange", PolicyValueRule::Text("dead letter exchange name"), STREAM, None),
    key("dead-letter-routing-key", PolicyValueRule::Text("dead letter routing key"), STREAM, None),
    // On classic queues too, where RabbitMQ has it on quorum queues alone.
    key(
        "dead-letter-strategy",
        PolicyValueRule::OneOf(&["at-most-once", "at-least-once"], "dead letter strategy"),
        STREAM,
        None,
    ),
    key("message-ttl", at_least(0, "message TTL"), STREAM, LEAST),
    key("expires", at_least(1, "queue expiry"), STREAM, LEAST),
    key("max-length", at_least(0, "maximum length"), STREAM, LEAST),
    key("max-length-bytes", at_least(0, "maximum length in bytes"), &[], LEAST),
    key("max-in-memory-length", at_least(0, "maximum memory in bytes"), CLASSIC_STREAM, LEAST),
    key("max-in-memory-bytes", at_least(0, "maximum memory in bytes"), CLASSIC_STREAM, LEAST),
    key(
        "overflow",
        PolicyValueRule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "overflow value"),
        STREAM,
        Some(Merge::Operator),
    ),
    // Classic queues have one as well, which RabbitMQ's have not.
    key("delivery-limit", at_least(i64::MIN, "delivery limit"), STREAM, Some(Merge::Limit)),
    key(
        "delayed-retry-type",
        PolicyValueRule::OneOf(
            &["all", "failed", "returned", "disabled"],
            "delayed retry type. Must be one of: all, failed, returned, disabled",
        ),
        &[],
        Some(Merge::Operator),
    ),
    key(
        "delayed-retry-min",
        at_least(1, "delayed retry minimum delay. Must be a positive integer"),
        &[],
        MOST,
    ),
    key(
        "delayed-retry-max",
        at_least(1, "delayed retry maximum delay. Must be a positive integer"),
        &[],
        LEAST,
    ),
    key("retry-delays", RETRY_DELAYS, STREAM, None),
    key("retry-jitter", range(0, 100, "retry jitter. Valid range is 0-100"), STREAM, None),
    key("max-age", PolicyValueRule::Interval("max age"), CLASSIC_QUORUM, None),
    key("stream-max-segment-size-bytes", range(0, SEGMENT_BYTES_MAX, "segment size"), CLASSIC_QUORUM, None),
    key("stream-filter-size-bytes", range(16, 255, "filter size. Valid range is 16-255"), &[], None),
    key("queue-mode", PolicyValueRule::OneOf(&["default", "lazy"], "queue-mode value"), QUORUM_STREAM, None),
    key("queue-version", range(1, 2, "queue-version value"), &[], Some(Merge::Operator)),
    key(
        "queue-leader-locator",
        PolicyValueRule::OneOf(
            &["client-local", "balanced", "random", "least-leaders"],
            "queue leader locator value",
        ),
        &[],
        None,
    ),
    key("initial-cluster-size", at_least(0, "cluster size"), CLASSIC_QUORUM, None),
    key("target-group-size", at_least(1, "qq target count value"), CLASSIC_STREAM, MOST),
    key(
        "queue-master-locator",
        PolicyValueRule::Denied("use of deprecated queue-master-locator argument is not permitted"),
        ALL_QUEUES,
        Some(Merge::Operator),
    ),
];

const fn key(
    name: &'static str,
    rule: PolicyValueRule,
    never_on: &'static [Object],
    merge: Option<Merge>,
) -> Key {
    Key { name, rule, never_on, merge }
}

const fn at_least(least: i64, what: &'static str) -> PolicyValueRule {
    range(least, i64::MAX, what)
}

const fn range(least: i64, most: i64, what: &'static str) -> PolicyValueRule {
    PolicyValueRule::Range { least, most, what }
}

/// Whether a policy of this rank may have a key of this name.
#[must_use]
pub fn is_used(rank: Rank, name: &str) -> bool {
    let key = KEYS.iter().find(|key| key.name == name && key.is_for(rank));
    key.is_some_and(|key| !matches!(key.rule, PolicyValueRule::Denied(_)))
}

impl Key {
    /// Whether policies of this rank may have it.
    pub(super) fn is_for(&self, rank: Rank) -> bool {
        rank == Rank::User || self.merge.is_some()
    }
}

impl PolicyValueRule {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Range { what, .. }
            | Self::Text(what)
            | Self::OneOf(_, what)
            | Self::Interval(what)
            | Self::Delays(what)
            | Self::Denied(what) => what,
        }
    }
}

impl Merge {
    /// What counts of both.
    pub(super) fn of(self, user: &Value, operator: &Value) -> Value {
        let larger = match (user, operator) {
            (Value::Integer(user), Value::Integer(operator)) => user > operator,
            // Of what is no number the operator's counts.
            _ => return operator.clone(),
        };
        let negative = [user, operator].into_iter().any(|value| matches!(value, Value::Integer(..0)));
        let users = match self {
            Self::Least => !larger,
            Self::Most => larger,
            Self::Limit => larger == negative,
            Self::Operator => false,
        };
        if users { user.clone() } else { operator.clone() }
    }
}

//! `x-consistent-hash`: a hash chooses one destination, each by its weight, and few keys move when
//! one comes or goes (RabbitMQ: plugin `rabbitmq_consistent_hash_exchange`).
//!
//! The binding key is the weight. Every destination has a score for each value, exponentially
//! distributed at the rate of its weight, and the least wins: so shares are exact, a new
//! destination takes its share of all others alike, and what one that goes had is spread over the
//! rest; nothing else moves (weighted rendezvous hashing). RabbitMQ numbers buckets instead, and
//! moves keys of the others too when a destination goes. The score is made of the destination's
//! name and of arithmetic that is the same on every machine, so a restart moves nothing.

use super::hash::{hash, mix};
use super::{RoutingInput, RoutingTarget};
use crate::arguments::table::{HASH_HEADER, HASH_PROPERTY, string};
use crate::arguments::value::canonical;
use crate::blocking;
use crate::error::BrokerError;
use crate::message::table::FieldTable;
use crate::message::{properties, table};

/// The largest weight (RabbitMQ's own bound).
const WEIGHT_MAX: i64 = 10_000;

/// What of a message is hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The routing key.
    #[default]
    RoutingKey,
    /// The value of this header.
    Header(Box<str>),
    /// The message id.
    MessageId,
    /// The correlation id.
    CorrelationId,
    /// The timestamp.
    Timestamp,
}

/// Destinations and their weights.
#[derive(Debug)]
pub struct ConsistentHash<T> {
    on: HashOn,
    shares: Vec<Share<T>>,
}

#[derive(Debug)]
struct Share<T> {
    target: T,
    place: u64,
    weight: f64,
}

impl HashOn {
    /// What arguments that were found to be valid say.
    #[must_use]
    pub fn of(arguments: &FieldTable) -> Self {
        if let Some(header) = string(arguments, HASH_HEADER) {
            return Self::Header(header.into());
        }
        match string(arguments, HASH_PROPERTY).as_deref() {
            Some("message_id") => Self::MessageId,
            Some("correlation_id") => Self::CorrelationId,
            Some("timestamp") => Self::Timestamp,
            Some(_) | None => Self::RoutingKey,
        }
    }

    /// The hash of a message; one that has not what is asked for counts as if that were empty.
    fn hash(&self, message: RoutingInput<'_>) -> u64 {
        if *self == Self::RoutingKey {
            return hash(message.routing_key);
        }
        let properties = properties::decode(message.properties).unwrap_or_default();
        match self {
            Self::RoutingKey => hash(message.routing_key),
            Self::Header(name) => {
                let found = table::get(properties.headers.unwrap_or_default(), name.as_bytes());
                hash(&found.map(canonical).unwrap_or_default())
            }
            Self::MessageId => hash(properties.message_id.unwrap_or_default()),
            Self::CorrelationId => hash(properties.correlation_id.unwrap_or_default()),
            Self::Timestamp => properties.timestamp.map_or(0, mix),
        }
    }
}

/// The weight that a binding key stands for.
///
/// # Errors
/// It stands for none.
pub fn weight(key: &[u8]) -> Result<u32, BrokerError> {
    let text = String::from_utf8_lossy(key);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(BrokerError::WeightNotNumber(text.into_owned()));
    }
    // More digits than fit are a very large number.
    match digits.parse().unwrap_or(i64::MAX) {
        0 => Err(BrokerError::WeightTooSmall),
        _ if text.starts_with('-') => Err(BrokerError::WeightTooSmall),
        number if number > WEIGHT_MAX => Err(BrokerError::WeightTooLarge { max: WEIGHT_MAX }),
        number => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
    }
}

impl<T: RoutingTarget> ConsistentHash<T> {
    /// No bindings yet.
    #[must_use]
    pub fn new(on: HashOn) -> Self {
        Self { on, shares: Vec::new() }
    }

    /// Binds `target`, whose weight is `key`; nothing happens when it is bound already.
    pub fn insert(&mut self, key: &[u8], target: T) {
        if let (Err(at), Ok(weight)) = (self.find(&target), weight(key)) {
            let place = target.place();
            self.shares.insert(at, Share { target, place, weight: weight.into() });
        }
    }

    /// Takes the binding of `target` back.
    pub fn remove(&mut self, target: &T) {
        if let Ok(at) = self.find(target) {
            self.shares.remove(at);
        }
    }

    /// Whether the routing key alone decides.
    pub fn goes_by_key_alone(&self) -> bool {
        self.on == HashOn::RoutingKey || self.shares.is_empty()
    }

    /// Shows where a message goes. How many shares were looked at.
    pub fn route<'a>(&'a self, message: RoutingInput<'_>, visit: impl FnMut(&'a T)) -> usize {
        if !self.shares.is_empty() {
            let value = self.on.hash(message);
            let chosen = blocking::run_many(self.shares.len(), || self.choose(value));
            chosen.into_iter().for_each(visit);
        }
        self.shares.len()
    }

    fn choose(&self, value: u64) -> Option<&T> {
        let mut best = (f64::INFINITY, None);
        for share in &self.shares {
            let score = share.score(value);
            if score < best.0 {
                best = (score, Some(&share.target));
            }
        }
        best.1
    }

    fn find(&self, target: &T) -> Result<usize, usize> {
        self.shares.binary_search_by(|share| share.target.cmp(target))
    }
}

impl<T> Share<T> {
    /// Between 0 and some 37.
    fn score(&self, value: u64) -> f64 {
        /// 2^53: so many different numbers from 0 to 1 a float has at the same distance.
        const STEPS: f64 = 9_007_199_254_740_992.0;
        let uniform = ((mix(value ^ self.place) >> 11) as f64 + 0.5) / STEPS;
        -ln(uniform) / self.weight
    }
}

/// The natural logarithm of a normal number, to 12 digits. The library's own is another one on
/// another machine.
fn ln(number: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const ONE: u64 = 1023 << 52;
    let bits = number.to_bits();
    let mut exponent = i32::try_from(bits >> 52).unwrap_or(0) - 1023;
    let mut mantissa = f64::from_bits(bits & MANTISSA | ONE);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 (t + t^3/3 + t^5/5 + ...), where t is between -0.18 and 0.18.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..8).rev().fold(0.0, |sum, term| sum * t * t + 1.0 / f64::from(2 * term + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::table::FieldValue;
    use std::collections::BTreeMap;

    const KEYS: u32 = 20_000;

    fn refused<R>(why: &str) -> Result<R, String> {
        Err(why.to_owned())
    }

    fn exchange(bindings: &[(&'static str, &str)]) -> ConsistentHash<&'static str> {
        let mut exchange = ConsistentHash::new(HashOn::RoutingKey);
        for (target, weight) in bindings {
            exchange.insert(weight.as_bytes(), *target);
        }
        exchange
    }

    /// Where each of many keys goes.
    fn homes(exchange: &ConsistentHash<&'static str>) -> Vec<&'static str> {
        let mut homes = Vec::new();
        for key in 0..KEYS {
            let routing_key = format!("key-{key}");
            let message = RoutingInput { routing_key: routing_key.as_bytes(), properties: &[0, 0] };
            exchange.route(message, |target| homes.push(*target));
        }
        homes
    }

    #[track_caller]
    fn check_shares(bindings: &[(&'static str, &str)]) {
        let homes = homes(&exchange(bindings));
        assert_eq!(homes.len(), KEYS as usize, "each key has one home");
        let mut counts = BTreeMap::new();
        homes.into_iter().for_each(|home| *counts.entry(home).or_insert(0.0) += 1.0);
        let weight_of = |weight: &str| f64::from(weight.parse::<u32>().unwrap());
        let total: f64 = bindings.iter().map(|(_, weight)| weight_of(weight)).sum();
        for (target, weight) in bindings {
            let share = weight_of(weight) / total;
            let expected = share * f64::from(KEYS);
            let spread = (expected * (1.0 - share)).sqrt();
            let count = counts.get(target).copied().unwrap_or(0.0);
            assert!((count - expected).abs() < 4.0 * spread + 1.0, "{target}: {count} for {expected}");
        }
    }

    #[test]
    fn each_has_the_share_of_its_weight() {
        check_shares(&[("a", "1")]);
        check_shares(&[("a", "1"), ("b", "1")]);
        check_shares(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        check_shares(&[("a", "10000"), ("b", "9"), ("c", "100")]);
        check_shares(&[("a", "20"), ("b", "20"), ("c", "20"), ("d", "20"), ("e", "20"), ("f", "1")]);
    }

    #[test]
    fn a_new_one_takes_its_share_and_nothing_else_moves() {
        let before = exchange(&[("a", "3"), ("b", "2"), ("c", "5")]);
        let after = exchange(&[("a", "3"), ("b", "2"), ("c", "5"), ("d", "10")]);
        let moved: Vec<_> =
            homes(&before).into_iter().zip(homes(&after)).filter(|(one, other)| one != other).collect();
        assert!(moved.iter().all(|(_, other)| *other == "d"));
        assert!(moved.len().abs_diff(10_000) < 300, "a half: {}", moved.len());
        for (target, expected) in [("a", 3000), ("b", 2000), ("c", 5000)] {
            let count = moved.iter().filter(|(one, _)| *one == target).count();
            assert!(count.abs_diff(expected) < 300, "half of what {target} had: {count}");
        }
    }

    #[test]
    fn what_comes_back_finds_its_keys_again_whatever_the_order() {
        let all = exchange(&[("a", "1"), ("b", "2"), ("c", "1")]);
        let mut other = exchange(&[("c", "1"), ("a", "1"), ("b", "2")]);
        assert_eq!(homes(&all), homes(&other));
        other.remove(&"b");
        assert_eq!(homes(&other), homes(&exchange(&[("a", "1"), ("c", "1")])));
        other.insert(b"2", "b");
        assert_eq!(homes(&all), homes(&other));
    }

    #[test]
    fn a_second_weight_of_the_same_target_is_ignored() {
        let mut twice = exchange(&[("a", "1"), ("b", "1"), ("b", "50")]);
        assert_eq!(homes(&twice), homes(&exchange(&[("a", "1"), ("b", "1")])));
        ["a", "b", "b"].iter().for_each(|target| twice.remove(target));
        assert!(homes(&twice).is_empty());
    }

    /// Another home for a key is a breach of promise: these must not change.
    #[test]
    fn a_restart_moves_nothing() {
        let exchange = exchange(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(homes(&exchange)[..12].concat(), "cbbccbbabacc");
    }

    #[test]
    fn what_is_hashed_is_what_was_asked_for() {
        let mut headers = FieldTable::default();
        headers.insert("h".into(), FieldValue::LongInt(7));
        let mut encoded = Vec::new();
        table::encode(&headers, &mut encoded);
        let mut raw = Vec::new();
        let full = properties::Properties {
            headers: Some(&encoded),
            message_id: Some(b"m"),
            correlation_id: Some(b"c"),
            timestamp: Some(9),
            ..properties::Properties::default()
        };
        properties::encode(&full, &mut raw);
        let of = |on: HashOn, routing_key: &[u8], properties: &[u8]| {
            on.hash(RoutingInput { routing_key, properties })
        };
        assert_eq!(of(HashOn::RoutingKey, b"k", &raw), hash(b"k"));
        assert_eq!(of(HashOn::MessageId, b"k", &raw), hash(b"m"));
        assert_eq!(of(HashOn::CorrelationId, b"k", &raw), hash(b"c"));
        assert_eq!(of(HashOn::Timestamp, b"k", &raw), mix(9));
        assert_ne!(of(HashOn::Header("h".into()), b"k", &raw), of(HashOn::Header("i".into()), b"k", &raw));
        assert_eq!(of(HashOn::Header("i".into()), b"k", &raw), of(HashOn::Header("h".into()), b"", &[0, 0]));
    }

    #[test]
    fn weights_are_refused_in_rabbitmqs_words() {
        let said = |key: &str| weight(key.as_bytes()).map_err(|fault| fault.to_string());
        assert_eq!((said("1"), said("+0010000")), (Ok(1), Ok(10_000)));
        let must = |why: &str| refused(&format!("The binding key must {why}"));
        for small in ["0", "-0", "-1", "-99999999999999999999999"] {
            assert_eq!(said(small), must("be greater than 0"), "{small}");
        }
        for large in ["10001", "99999999999999999999999"] {
            assert_eq!(said(large), must("not exceed 10000"), "{large}");
        }
        for odd in ["x", " 1", "1.5", "+", "1-"] {
            assert_eq!(said(odd), must(&format!("be an integer: <<\"{odd}\">>")), "{odd}");
        }
        assert_eq!(said(""), must("be an integer: <<>>"));
    }

    #[test]
    fn the_logarithm_is_one() {
        for number in [1.0, 0.5, 0.999_999, 0.3, 1e-3, 1.0 / 3.0, 1e-17, f64::MIN_POSITIVE] {
            let (ours, exact) = (ln(number), number.ln());
            assert!((ours - exact).abs() <= exact.abs() * 1e-11, "{number}: {ours} and {exact}");
        }
    }
}

//! How long a message that came back waits before it is delivered again.
//!
//! Leveret:
//! `x-retry-delays`, an array of milliseconds, the first return's delay first; `x-retry-jitter`
//! spreads each by so many per cent. RabbitMQ: `x-delayed-retry-type`, `-min` and `-max` of quorum
//! queues (quorum-queues.md).

use super::rule::array_of_integers;
use super::table::{
    DELAYED_RETRY_MAX, DELAYED_RETRY_MIN, DELAYED_RETRY_TYPE, RETRY_DELAYS, RETRY_JITTER, number, string,
    value,
};
use crate::message::table::FieldTable;

/// How messages come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// They were dealt and never sent, as if nothing had been.
    Unsent,
    /// A consumer did not settle them in time.
    Overdue,
    /// A consumer does not want them now: `basic.nack` with requeue.
    Declined,
    /// A consumer failed: `basic.reject` with requeue, or its channel is gone.
    Failed,
}

impl Requeue {
    /// Whether it counts: the message was in a consumer's hands, who gave it back.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Declined | Self::Failed)
    }
}

/// How long a requeued message waits before it is delivered again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Retry {
    /// A message may be delivered again at once.
    #[default]
    None,
    /// The n-th return waits for the n-th of these.
    Steps {
        /// Milliseconds; not empty.
        delays_ms: Box<[u64]>,
        /// By how many per cent each may be shorter or longer, 0 to 100.
        jitter: u8,
    },
    /// Every return waits longer than the one before.
    Linear {
        /// Whether declined messages wait.
        declined: bool,
        /// Whether failed ones do.
        failed: bool,
        /// Milliseconds that each return adds.
        min_ms: u64,
        /// Milliseconds at most.
        max_ms: u64,
    },
}

impl Retry {
    /// What arguments that were found to be valid amount to.
    pub(super) fn of(arguments: &FieldTable) -> Self {
        let ms = |name| number(arguments, name);
        if let Some(delays) = value(arguments, RETRY_DELAYS).and_then(array_of_integers)
            && !delays.is_empty()
        {
            let delays_ms = delays.into_iter().map(|ms| u64::try_from(ms).unwrap_or_default()).collect();
            let jitter = ms(RETRY_JITTER).and_then(|percent| u8::try_from(percent).ok()).unwrap_or_default();
            return Self::Steps { delays_ms, jitter: jitter.min(100) };
        }
        let (declined, failed) = match string(arguments, DELAYED_RETRY_TYPE).as_deref() {
            Some("all") => (true, true),
            Some("failed") => (false, true),
            Some("returned") => (true, false),
            Some(_) | None => return Self::None,
        };
        let Some(min_ms) = ms(DELAYED_RETRY_MIN) else { return Self::None };
        // Without a longest delay none is longer than the first.
        let max_ms = ms(DELAYED_RETRY_MAX).unwrap_or(min_ms).max(min_ms);
        Self::Linear { declined, failed, min_ms, max_ms }
    }

    /// Whether nothing ever waits.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// How often a message may come back; after that it is dead.
    pub(super) fn limit(&self) -> Option<u32> {
        match self {
            Self::Steps { delays_ms, .. } => u32::try_from(delays_ms.len()).ok(),
            Self::None | Self::Linear { .. } => None,
        }
    }

    /// How long message `seq` waits that came back for the `deliveries`-th time, milliseconds.
    #[must_use]
    pub fn delay_ms(&self, how: Requeue, deliveries: u32, seq: u64) -> u64 {
        match self {
            Self::None => 0,
            // Nobody has failed.
            Self::Steps { .. } if matches!(how, Requeue::Unsent | Requeue::Overdue) => 0,
            Self::Steps { delays_ms, jitter } => {
                let step = usize::try_from(deliveries.saturating_sub(1)).unwrap_or(usize::MAX);
                let delay_ms = delays_ms.get(step).or(delays_ms.last()).copied().unwrap_or_default();
                spread(delay_ms, *jitter, seq ^ u64::from(deliveries) << 32)
            }
            Self::Linear { declined, failed, min_ms, max_ms } => {
                let waits = match how {
                    Requeue::Unsent => false,
                    Requeue::Declined | Requeue::Overdue => *declined,
                    Requeue::Failed => *failed,
                };
                if waits { min_ms.saturating_mul(u64::from(deliveries).max(1)).min(*max_ms) } else { 0 }
            }
        }
    }
}

/// A delay up to `percent` shorter or longer, by a number that looks like chance and comes from the
/// message.
fn spread(delay_ms: u64, percent: u8, from: u64) -> u64 {
    let most = delay_ms / 100 * u64::from(percent) + delay_ms % 100 * u64::from(percent) / 100;
    if most == 0 {
        return delay_ms;
    }
    // The finalizer of splitmix64, which spreads neighbouring numbers evenly.
    let mut mixed = from.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    delay_ms - most + mixed % (2 * most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::table::FieldValue;

    fn array(delays: &[i64]) -> FieldValue {
        FieldValue::FieldArray(delays.iter().map(|&ms| FieldValue::LongLongInt(ms)).collect())
    }

    fn retry(arguments: &[(&str, FieldValue)]) -> Retry {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        Retry::of(&table)
    }

    #[test]
    fn each_return_has_its_delay_and_the_last_one_is_the_end() {
        let retry = retry(&[(RETRY_DELAYS, array(&[1000, 10_000, 60_000]))]);
        let delays: Vec<u64> = (1..=3).map(|n| retry.delay_ms(Requeue::Failed, n, 7)).collect();
        assert_eq!(delays, [1000, 10_000, 60_000]);
        assert_eq!(retry.limit(), Some(3));
    }

    #[test]
    fn jitter_stays_in_its_bounds_and_spreads() {
        let retry = retry(&[(RETRY_DELAYS, array(&[1000])), (RETRY_JITTER, FieldValue::LongInt(20))]);
        let delays: Vec<u64> = (0..1000).map(|seq| retry.delay_ms(Requeue::Declined, 1, seq)).collect();
        assert!(delays.iter().all(|ms| (800..=1200).contains(ms)));
        assert!(delays.iter().any(|ms| *ms < 850) && delays.iter().any(|ms| *ms > 1150));
    }

    #[test]
    fn rabbitmqs_delays_grow_by_the_least_up_to_the_most() {
        let of = |kind: &str| {
            retry(&[
                (DELAYED_RETRY_TYPE, FieldValue::LongString(kind.into())),
                (DELAYED_RETRY_MIN, FieldValue::LongInt(100)),
                (DELAYED_RETRY_MAX, FieldValue::LongInt(250)),
            ])
        };
        let delays = |retry: &Retry, how| (1..=4).map(|n| retry.delay_ms(how, n, 0)).collect::<Vec<_>>();
        assert_eq!(delays(&of("all"), Requeue::Declined), [100, 200, 250, 250]);
        assert_eq!(delays(&of("failed"), Requeue::Declined), [0; 4]);
        assert_eq!(delays(&of("failed"), Requeue::Failed), [100, 200, 250, 250]);
        assert_eq!(delays(&of("returned"), Requeue::Failed), [0; 4]);
        assert!(of("disabled").is_none());
        let kind = (DELAYED_RETRY_TYPE, FieldValue::LongString("all".into()));
        let constant = retry(&[kind, (DELAYED_RETRY_MIN, FieldValue::LongInt(100))]);
        assert_eq!(delays(&constant, Requeue::Failed), [100; 4]);
    }
}

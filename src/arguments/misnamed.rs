//! Arguments without effect: those that nobody takes and whose names are nearly those of arguments
//! that somebody takes, and one that says nothing without another. The former may be a client's
//! own, so they are kept; but most are slips, which nobody would ever notice: the log tells of each
//! name once.

use super::table::{RETRY_DELAYS, RETRY_JITTER, TABLE};
use crate::message::table::FieldTable;
use crate::near::nearest;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use tracing::warn;

/// Names that are remembered, so that each is looked at once; of more, none is.
const NAMES_MAX: usize = 1000;

/// What RabbitMQ takes, or took, and nobody here.
const OF_RABBITMQ: [&str; 6] = [
    "x-match",
    "x-ha-policy",
    "x-ha-nodes",
    "x-queue-master-locator",
    "x-cancel-on-ha-failover",
    "x-internal-purpose",
];

/// The names that were looked at.
#[derive(Debug, Default)]
pub struct Misnamed {
    looked_at: Mutex<BTreeSet<String>>,
}

impl Misnamed {
    /// Looks at the arguments of something that is made.
    pub fn look_at(&self, on: &dyn Display, arguments: &FieldTable) {
        for name in arguments.keys() {
            if let Some(meant) = self.meant_by(name.as_str()) {
                warn!("{on} has the unknown argument '{name}', which has no effect; did you mean '{meant}'?");
            }
        }
        if self.has_jitter_alone(arguments) {
            warn!(
                "{on} has the argument '{RETRY_JITTER}' without '{RETRY_DELAYS}', so it has no effect, \
                 unless a policy sets 'retry-delays'"
            );
        }
    }

    /// Whether there is a jitter and no delay that it could change, for the first time.
    fn has_jitter_alone(&self, arguments: &FieldTable) -> bool {
        arguments.contains_key(RETRY_JITTER)
            && !arguments.contains_key(RETRY_DELAYS)
            && self.is_first(RETRY_JITTER)
    }

    /// What a name that is seen for the first time stands for, if it is a slip.
    fn meant_by(&self, name: &str) -> Option<String> {
        let known = || TABLE.iter().map(|argument| argument.name).chain(OF_RABBITMQ);
        if known().any(|known| known == name) {
            return None;
        }
        self.is_first(name).then(|| nearest(name, known()).into_iter().next())?
    }

    /// Whether nobody has looked at this name before.
    fn is_first(&self, name: &str) -> bool {
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        looked_at.len() < NAMES_MAX && looked_at.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::table::FieldValue;

    #[test]
    fn a_slip_is_seen_once_and_what_is_a_clients_own_is_not() {
        let misnamed = Misnamed::default();
        let meant = |name: &str| misnamed.meant_by(name);
        assert_eq!(meant("x-retry-delay").as_deref(), Some("x-retry-delays"));
        assert_eq!(meant("x-retry-delay"), None, "it was told");
        assert_eq!(meant("message-ttl").as_deref(), Some("x-message-ttl"));
        assert_eq!(meant("x-max-lenght").as_deref(), Some("x-max-length"));
        assert_eq!(meant("X-Message-TTL").as_deref(), Some("x-message-ttl"));
        for name in ["x-message-ttl", "x-ha-policy", "owner", "x-my-own-thing", ""] {
            assert_eq!(meant(name), None, "{name}");
        }
    }

    #[test]
    fn a_jitter_without_delays_is_seen_once() {
        let misnamed = Misnamed::default();
        let mut arguments = FieldTable::default();
        arguments.insert(RETRY_JITTER.into(), FieldValue::LongInt(20));
        let mut whole = arguments.clone();
        whole.insert(RETRY_DELAYS.into(), FieldValue::FieldArray(vec![FieldValue::LongInt(1)]));
        let seen = [&whole, &arguments, &arguments].map(|arguments| misnamed.has_jitter_alone(arguments));
        assert_eq!(seen, [false, true, false]);
    }

    #[test]
    fn names_are_not_remembered_without_end() {
        let misnamed = Misnamed::default();
        (0..2 * NAMES_MAX).for_each(|n| drop(misnamed.meant_by(&format!("own-{n}"))));
        assert_eq!(misnamed.looked_at.lock().unwrap().len(), NAMES_MAX);
        assert_eq!(misnamed.meant_by("x-retry-delay"), None);
    }
}

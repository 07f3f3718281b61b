//! `x-local-random`: as [`super::random`], for classic queues of the node that the publisher is
//! connected to (RabbitMQ: local-random-exchange.md). There is one node here; what is left are the
//! rules of its bindings.

use crate::error::BrokerError;

/// Whether there may be a binding with this key to a queue of this type; `None` stands for an
/// exchange.
///
/// # Errors
/// There may not.
pub fn check(key: &[u8], queue_type: Option<&str>) -> Result<(), BrokerError> {
    match queue_type {
        _ if !key.is_empty() => Err(BrokerError::KeyNotPermitted(String::from_utf8_lossy(key).into_owned())),
        Some("rabbit_classic_queue") => Ok(()),
        Some(other) => Err(BrokerError::QueueTypeNotValid(other.to_owned())),
        None => Err(BrokerError::DestinationNotQueue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_without_a_key_to_a_classic_queue_is_the_only_one() {
        let said = |key, queue_type| check(key, queue_type).map_err(|fault| fault.to_string());
        let refused = |why: &str| Err(why.to_owned());
        assert_eq!(said(b"", Some("rabbit_classic_queue")), Ok(()));
        let keyed = refused("Non empty binding 'k' key not permitted");
        assert_eq!(said(b"k", Some("rabbit_classic_queue")), keyed);
        assert_eq!(said(b"k", None), keyed);
        let quorum = refused("Queue type rabbit_quorum_queue not valid for this exchange type");
        assert_eq!(said(b"", Some("rabbit_quorum_queue")), quorum);
        assert_eq!(said(b"", None), refused("Destination not found"));
    }
}

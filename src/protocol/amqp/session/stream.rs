//! What streams refuse.

use super::consumers::Consumers;
use crate::protocol::amqp::fault::AmqpError;
use crate::queue::Queue;
use amq_protocol::protocol::basic::Consume;

/// Refuses what streams do not have.
///
/// # Errors
/// 540 when the queue is a stream; `method` is what was asked.
pub(super) fn refuse(queue: &Queue, method: &'static str) -> Result<(), AmqpError> {
    if !queue.is_stream() {
        return Ok(());
    }
    Err(AmqpError::MethodOfStream { method, on: queue.on() })
}

/// Whether a consumer of a stream may begin here: it takes no more than it acknowledges.
///
/// # Errors
/// 406 without a prefetch, 540 without acknowledgements or with a limit that several consumers
/// share.
pub(super) fn check_consumer(
    consumers: &Consumers,
    queue: &Queue,
    consume: &Consume,
) -> Result<(), AmqpError> {
    if !queue.is_stream() {
        return Ok(());
    }
    let on = queue.on();
    if consumers.limit.is_set() {
        return Err(AmqpError::GlobalQosOfStream(on));
    }
    if consumers.prefetch == 0 {
        return Err(AmqpError::NoPrefetchOfStream(on));
    }
    if consume.no_ack {
        return Err(AmqpError::AutoAckOfStream(on));
    }
    Ok(())
}

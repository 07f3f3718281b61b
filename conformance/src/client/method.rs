//! Methods that clients send, with what most of them leave at its default left out.

use amq_protocol::protocol::{AMQPClass, basic, confirm, connection, exchange, queue, tx};
use amq_protocol::types::FieldTable;

/// queue.declare of a durable queue.
#[must_use]
pub fn declare_queue(name: &str, arguments: FieldTable) -> AMQPClass {
    declare(name, false, arguments)
}

/// queue.declare that only asks whether the queue is there.
#[must_use]
pub fn look_for_queue(name: &str) -> AMQPClass {
    declare(name, true, FieldTable::default())
}

fn declare(name: &str, passive: bool, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    }))
}

/// queue.delete, whatever is in it and whoever uses it.
#[must_use]
pub fn delete_queue(name: &str) -> AMQPClass {
    let delete = queue::Delete { queue: name.into(), if_unused: false, if_empty: false, nowait: false };
    AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
}

/// queue.purge.
#[must_use]
pub fn purge_queue(name: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: name.into(), nowait: false }))
}

/// queue.bind without a routing key.
#[must_use]
pub fn bind_queue(queue: &str, exchange: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: "".into(),
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

/// exchange.declare of a durable exchange.
#[must_use]
pub fn declare_exchange(name: &str, kind: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

/// basic.publish, neither mandatory nor immediate.
#[must_use]
pub fn publish(exchange: &str, key: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
        exchange: exchange.into(),
        routing_key: key.into(),
        mandatory: false,
        immediate: false,
    }))
}

/// basic.consume with acknowledgements; the broker names the consumer.
#[must_use]
pub fn consume(queue: &str) -> AMQPClass {
    consume_as(queue, "")
}

/// As [`consume`]; the consumer has that name.
#[must_use]
pub fn consume_as(queue: &str, tag: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

/// basic.get with an acknowledgement.
#[must_use]
pub fn get(queue: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack: false }))
}

/// basic.qos for each consumer; 0 is no limit.
#[must_use]
pub fn prefetch(prefetch_count: u16) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global: false }))
}

/// basic.ack.
#[must_use]
pub fn ack(delivery_tag: u64, multiple: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))
}

/// basic.nack of one delivery.
#[must_use]
pub fn nack(delivery_tag: u64, requeue: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple: false, requeue }))
}

/// basic.reject.
#[must_use]
pub fn reject(delivery_tag: u64, requeue: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }))
}

/// confirm.select.
#[must_use]
pub fn select_confirms() -> AMQPClass {
    AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))
}

/// tx.select.
#[must_use]
pub fn select_tx() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))
}

/// tx.commit.
#[must_use]
pub fn commit() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))
}

/// tx.rollback.
#[must_use]
pub fn roll_back() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {}))
}

/// connection.close after everything went well.
#[must_use]
pub fn connection_close() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: 200,
        reply_text: "done".into(),
        class_id: 0,
        method_id: 0,
    }))
}

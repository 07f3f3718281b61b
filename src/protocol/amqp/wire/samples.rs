//! For the tests of `wire` only: one of each thing that travels.

use crate::message::{samples, table};
use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{
    AMQPClass, access, basic, channel, confirm, connection, exchange, gen_class, queue, tx,
};
use amq_protocol::types::FieldTable;
use amq_protocol::types::parsing::parse_field_table;

/// A table with a value of every kind, nested ones too.
pub(super) fn every_kind() -> FieldTable {
    let mut bytes = vec![0; 4];
    table::encode(&samples::every_kind(), &mut bytes);
    let len = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    let (rest, table) = parse_field_table(bytes.as_slice()).unwrap();
    assert!(rest.is_empty());
    table
}

/// The payload of a method as `amq-protocol` writes it.
pub(super) fn payload_of(class: &AMQPClass) -> Vec<u8> {
    gen_class(class)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

/// One of each method, with arguments that differ from each other.
pub(super) fn every_method() -> Vec<AMQPClass> {
    [connection_methods(), channel_methods(), exchange_methods(), queue_methods(), basic_methods()].concat()
}

fn connection_methods() -> Vec<AMQPClass> {
    [
        connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: every_kind(),
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        }),
        connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: every_kind(),
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        }),
        connection::AMQPMethod::Secure(connection::Secure { challenge: "who".into() }),
        connection::AMQPMethod::SecureOk(connection::SecureOk { response: "me".into() }),
        connection::AMQPMethod::Tune(connection::Tune {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
        }),
        connection::AMQPMethod::TuneOk(connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 }),
        connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() }),
        connection::AMQPMethod::OpenOk(connection::OpenOk {}),
        connection::AMQPMethod::Close(connection::Close {
            reply_code: 320,
            reply_text: "bye".into(),
            class_id: 60,
            method_id: 40,
        }),
        connection::AMQPMethod::CloseOk(connection::CloseOk {}),
        connection::AMQPMethod::Blocked(connection::Blocked { reason: "low on disk".into() }),
        connection::AMQPMethod::Unblocked(connection::Unblocked {}),
        connection::AMQPMethod::UpdateSecret(connection::UpdateSecret {
            new_secret: "token".into(),
            reason: "due".into(),
        }),
        connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {}),
    ]
    .map(AMQPClass::Connection)
    .to_vec()
}

fn channel_methods() -> Vec<AMQPClass> {
    let close = channel::Close { reply_code: 404, reply_text: "gone".into(), class_id: 50, method_id: 10 };
    let request = access::Request { realm: "/data".into(), read: true, write: true, ..Default::default() };
    vec![
        AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: true })),
        AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active: false })),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)),
        AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        AMQPClass::Access(access::AMQPMethod::Request(request)),
        AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
        AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true })),
        AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})),
        AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
        AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})),
        AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
        AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})),
        AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
        AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})),
    ]
}

fn exchange_methods() -> Vec<AMQPClass> {
    [
        exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: "x".into(),
            kind: "topic".into(),
            durable: true,
            internal: true,
            arguments: every_kind(),
            ..Default::default()
        }),
        exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}),
        exchange::AMQPMethod::Delete(exchange::Delete {
            exchange: "x".into(),
            if_unused: true,
            nowait: false,
        }),
        exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}),
        exchange::AMQPMethod::Bind(exchange::Bind {
            destination: "to".into(),
            source: "from".into(),
            routing_key: "a.*.#".into(),
            nowait: true,
            arguments: every_kind(),
        }),
        exchange::AMQPMethod::BindOk(exchange::BindOk {}),
        exchange::AMQPMethod::Unbind(exchange::Unbind {
            destination: "to".into(),
            source: "from".into(),
            routing_key: "".into(),
            nowait: false,
            arguments: FieldTable::default(),
        }),
        exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}),
    ]
    .map(AMQPClass::Exchange)
    .to_vec()
}

fn queue_methods() -> Vec<AMQPClass> {
    [
        queue::AMQPMethod::Declare(queue::Declare {
            queue: "q".into(),
            exclusive: true,
            nowait: true,
            arguments: every_kind(),
            ..Default::default()
        }),
        queue::AMQPMethod::DeclareOk(queue::DeclareOk {
            queue: "q".into(),
            message_count: 7,
            consumer_count: 8,
        }),
        queue::AMQPMethod::Bind(queue::Bind {
            queue: "q".into(),
            exchange: "x".into(),
            routing_key: "k".repeat(255).into(),
            nowait: true,
            arguments: every_kind(),
        }),
        queue::AMQPMethod::BindOk(queue::BindOk {}),
        queue::AMQPMethod::Purge(queue::Purge { queue: "q".into(), nowait: true }),
        queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: 9 }),
        queue::AMQPMethod::Delete(queue::Delete {
            queue: "q".into(),
            if_unused: false,
            if_empty: true,
            nowait: false,
        }),
        queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 10 }),
        queue::AMQPMethod::Unbind(queue::Unbind {
            queue: "q".into(),
            exchange: "x".into(),
            routing_key: "k".into(),
            arguments: every_kind(),
        }),
        queue::AMQPMethod::UnbindOk(queue::UnbindOk {}),
    ]
    .map(AMQPClass::Queue)
    .to_vec()
}

fn basic_methods() -> Vec<AMQPClass> {
    [
        basic::AMQPMethod::Qos(basic::Qos { prefetch_count: 100, global: true }),
        basic::AMQPMethod::QosOk(basic::QosOk {}),
        basic::AMQPMethod::Consume(basic::Consume {
            queue: "q".into(),
            consumer_tag: "tag".into(),
            no_ack: true,
            arguments: every_kind(),
            ..Default::default()
        }),
        basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: "tag".into() }),
        basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "tag".into(), nowait: true }),
        basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: "tag".into() }),
        basic::AMQPMethod::Publish(basic::Publish {
            exchange: "x".into(),
            routing_key: "k".into(),
            mandatory: true,
            immediate: false,
        }),
        basic::AMQPMethod::Return(basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: "x".into(),
            routing_key: "k".into(),
        }),
        basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: "tag".into(),
            delivery_tag: 11,
            redelivered: true,
            exchange: "x".into(),
            routing_key: "k".into(),
        }),
        basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: true }),
        basic::AMQPMethod::GetOk(basic::GetOk {
            delivery_tag: 12,
            redelivered: false,
            exchange: "x".into(),
            routing_key: "k".into(),
            message_count: 13,
        }),
        basic::AMQPMethod::GetEmpty(basic::GetEmpty {}),
        basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 14, multiple: true }),
        basic::AMQPMethod::Reject(basic::Reject { delivery_tag: u64::MAX, requeue: true }),
        basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true }),
        basic::AMQPMethod::Recover(basic::Recover { requeue: true }),
        basic::AMQPMethod::RecoverOk(basic::RecoverOk {}),
        basic::AMQPMethod::Nack(basic::Nack { delivery_tag: 15, multiple: false, requeue: true }),
    ]
    .map(AMQPClass::Basic)
    .to_vec()
}

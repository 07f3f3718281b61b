//! The methods of exchanges and queues.
//!
//! Durable things are answered when they are on disk; see [`super::deferred_replies`].

use super::channel_output::ChannelOutput;
use super::connection_state::ConnectionState;
use super::replies;
use super::stream;
use crate::auth::permission::Right;
use crate::broker::vhost::access::{may_ask, may_bind, may_declare_exchange, may_declare_queue};
use crate::broker::vhost::{Bind, Destination, ExchangeDeclare, QueueDeclare};
use crate::error::{BrokerError, Resource};
use crate::ids::Ticket;
use crate::message::table::FieldTable;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::fields;
use crate::queue::reply::is_reply_queue;
use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::ShortString;
use std::sync::Arc;

/// The name of the queue that a channel declared last, which an empty name stands for.
#[derive(Default)]
pub(super) struct LastQueue(Option<Arc<str>>);

impl LastQueue {
    /// The queue that is meant by a name.
    ///
    /// # Errors
    /// 404: it is empty, and no queue was declared.
    pub(super) fn name(&self, given: &ShortString) -> Result<String, AmqpError> {
        if given.as_str().is_empty() {
            let last = self.0.as_ref().ok_or(AmqpError::NoPreviousQueue)?;
            return Ok(last.to_string());
        }
        Ok(name(given))
    }

    /// Without a queue name and a key, the key is the name of the queue declared last (AMQP 0-9-1
    /// section 1.7.2.3).
    fn binding(
        &self,
        source: &ShortString,
        queue: &ShortString,
        key: &ShortString,
        arguments: FieldTable,
    ) -> Result<Bind, AmqpError> {
        let destination = self.name(queue)?;
        let unnamed = queue.as_str().is_empty() && key.as_str().is_empty();
        let routing_key = if unnamed { destination.clone() } else { key.to_string() }.into_bytes();
        Ok(Bind {
            source: name(source),
            destination: Destination::Queue(destination),
            routing_key,
            arguments,
        })
    }
}

/// exchange.declare, exchange.delete, exchange.bind, exchange.unbind
pub(super) fn handle_exchange(
    out: &mut ChannelOutput,
    link: &mut ConnectionState,
    method: exchange::AMQPMethod,
) -> Result<(), AmqpError> {
    use exchange::AMQPMethod as M;
    let grants = link.client.grants();
    let vhost = Arc::clone(&link.client.vhost);
    let (ticket, nowait, ok) = match method {
        M::Declare(declare) => {
            let may = |on: &Resource, new: Option<&FieldTable>| may_declare_exchange(&grants, on, new);
            let name = name(&declare.exchange);
            if declare.passive && !name.is_empty() {
                may_ask(&grants, &vhost.on_exchange(&name))?;
            }
            let ticket = vhost.declare_exchange_if(
                &may,
                ExchangeDeclare {
                    name,
                    kind: declare.kind.to_string(),
                    passive: declare.passive,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: fields::read(&declare.arguments),
                },
            )?;
            (ticket, declare.nowait, M::DeclareOk(exchange::DeclareOk {}))
        }
        M::Delete(delete) => {
            let name = name(&delete.exchange);
            // Nobody may delete what is the broker's own, which is said elsewhere.
            if !name.is_empty() && !name.starts_with("amq.") {
                grants.check(Right::Configure, &vhost.on_exchange(&name))?;
            }
            let ticket = vhost.delete_exchange(&name, delete.if_unused)?;
            (ticket, delete.nowait, M::DeleteOk(exchange::DeleteOk {}))
        }
        M::Bind(bind) => {
            let ends = (&bind.source, &bind.destination);
            let binding = exchange_bind(ends, &bind.routing_key, fields::read(&bind.arguments));
            may_bind(&grants, &vhost, &binding)?;
            (vhost.bind(binding, link.client.id)?, bind.nowait, M::BindOk(exchange::BindOk {}))
        }
        M::Unbind(unbind) => {
            let ends = (&unbind.source, &unbind.destination);
            let binding = exchange_bind(ends, &unbind.routing_key, fields::read(&unbind.arguments));
            may_bind(&grants, &vhost, &binding)?;
            (vhost.unbind(binding, link.client.id)?, unbind.nowait, M::UnbindOk(exchange::UnbindOk {}))
        }
        M::DeclareOk(_) | M::DeleteOk(_) | M::BindOk(_) | M::UnbindOk(_) => {
            return Err(AmqpError::UnknownMethod);
        }
    };
    out.answer(link, ticket, nowait, &AMQPClass::Exchange(ok));
    Ok(())
}

/// queue.declare, queue.bind, queue.unbind, queue.purge, queue.delete
pub(super) fn handle_queue(
    (out, last_queue): (&mut ChannelOutput, &mut LastQueue),
    link: &mut ConnectionState,
    method: queue::AMQPMethod,
) -> Result<(), AmqpError> {
    use queue::AMQPMethod as M;
    let (ticket, nowait, ok) = match method {
        M::Declare(declare) => return declare_queue((out, last_queue), link, &declare),
        M::Bind(bind) => {
            let arguments = fields::read(&bind.arguments);
            let binding = last_queue.binding(&bind.exchange, &bind.queue, &bind.routing_key, arguments)?;
            check_bind(link, &binding)?;
            let ticket = link.client.vhost.bind(binding, link.client.id)?;
            (ticket, bind.nowait, M::BindOk(queue::BindOk {}))
        }
        M::Unbind(unbind) => {
            let arguments = fields::read(&unbind.arguments);
            let binding =
                last_queue.binding(&unbind.exchange, &unbind.queue, &unbind.routing_key, arguments)?;
            check_bind(link, &binding)?;
            let ticket = link.client.vhost.unbind(binding, link.client.id)?;
            (ticket, false, M::UnbindOk(queue::UnbindOk {}))
        }
        M::Purge(asked) => {
            let (count, ticket) = purge(link, &last_queue.name(&asked.queue)?)?;
            (ticket, asked.nowait, M::PurgeOk(queue::PurgeOk { message_count: saturate(count) }))
        }
        M::Delete(delete) => {
            let name = last_queue.name(&delete.queue)?;
            link.client.check_queue(Right::Configure, &name)?;
            if let Ok(queue) = link.client.vhost.queue(&name, link.client.id) {
                link.broker.send_letters(&queue, link.now);
            }
            let (count, ticket) =
                link.client.vhost.delete_queue(&name, link.client.id, delete.if_unused, delete.if_empty)?;
            (ticket, delete.nowait, M::DeleteOk(queue::DeleteOk { message_count: saturate(count) }))
        }
        M::DeclareOk(_) | M::BindOk(_) | M::UnbindOk(_) | M::PurgeOk(_) | M::DeleteOk(_) => {
            return Err(AmqpError::UnknownMethod);
        }
    };
    out.answer(link, ticket, nowait, &AMQPClass::Queue(ok));
    Ok(())
}

/// How many messages are gone. What is on its way to somebody who asked is not there to be
/// purged.
fn purge(link: &mut ConnectionState, name: &str) -> Result<(u64, Ticket), AmqpError> {
    if is_reply_queue(name) {
        link.client.vhost.reply_queues().find(name)?;
        return Ok((0, Ticket(0)));
    }
    link.client.check_queue(Right::Read, name)?;
    let queue = link.client.vhost.queue(name, link.client.id)?;
    stream::refuse(&queue, "queue.purge")?;
    Ok(link.broker.purge(&queue, link.now))
}

fn declare_queue(
    (out, last_queue): (&mut ChannelOutput, &mut LastQueue),
    link: &mut ConnectionState,
    declare: &queue::Declare,
) -> Result<(), AmqpError> {
    let asked = name(&declare.queue);
    if replies::is_special(&asked) {
        return declare_replies((out, last_queue), link, &asked, declare.nowait);
    }
    let grants = link.client.grants();
    if declare.passive {
        may_ask(&grants, &link.client.vhost.on_queue(&asked))?;
    }
    let may = |on: &Resource, new: Option<&FieldTable>| may_declare_queue(&grants, on, new);
    let (queue, ticket) = link.client.vhost.declare_queue_if(
        &may,
        QueueDeclare {
            name: asked,
            passive: declare.passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: fields::read(&declare.arguments),
            connection: link.client.id,
            now: link.now,
        },
    )?;
    last_queue.0 = Some(Arc::clone(&queue.name));
    link.broker.metrics().queues_declared.add(u64::from(!declare.passive));
    if declare.nowait {
        return Ok(());
    }
    let stats = queue.stats();
    let ok = queue::DeclareOk {
        queue: ShortString::from(&*queue.name),
        message_count: saturate(stats.ready),
        consumer_count: stats.consumers,
    };
    out.answer(link, ticket, false, &AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
    Ok(())
}

/// queue.declare of a name that is special asks whether replies can be sent there; it makes
/// nothing.
fn declare_replies(
    (out, last_queue): (&mut ChannelOutput, &mut LastQueue),
    link: &mut ConnectionState,
    name: &str,
    nowait: bool,
) -> Result<(), AmqpError> {
    if is_reply_queue(name) {
        link.client.vhost.reply_queues().find(name)?;
    }
    last_queue.0 = Some(name.into());
    let ok = queue::DeclareOk { queue: ShortString::from(name), message_count: 0, consumer_count: 1 };
    out.answer(link, Ticket(0), nowait, &AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
    Ok(())
}

/// A binding of one exchange to another.
fn exchange_bind(
    (source, destination): (&ShortString, &ShortString),
    key: &ShortString,
    arguments: FieldTable,
) -> Bind {
    Bind {
        source: name(source),
        destination: Destination::Exchange(name(destination)),
        routing_key: key.as_str().as_bytes().to_vec(),
        arguments,
    }
}

fn check_bind(link: &mut ConnectionState, bind: &Bind) -> Result<(), BrokerError> {
    let grants = link.client.grants();
    may_bind(&grants, &link.client.vhost, bind)
}

/// A name as it was meant: RabbitMQ takes line ends out.
fn name(given: &ShortString) -> String {
    given.as_str().replace(['\r', '\n'], "")
}

fn saturate(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

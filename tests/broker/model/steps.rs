//! The steps of a run: what several clients do, each told to the broker and to the naive one.

use super::client::{Client, Publication};
use super::naive::{ChannelKey, Consumer, Declaration, How};
use super::test_broker::{CHANNELS, CLIENTS, ComparedBroker, Expected};
use amq_protocol::protocol::basic::{self, AMQPMethod as Basic};
use amq_protocol::protocol::queue::{self, AMQPMethod as Queue};
use amq_protocol::protocol::{AMQPClass, channel};
use amq_protocol::types::{AMQPValue, FieldTable};

/// Keys and patterns; few, so that they meet.
const KEYS: [&str; 4] = ["a", "a.b", "a.b.c", "b"];
const PATTERNS: [&str; 6] = ["a", "a.b", "a.*", "#", "a.#", "*.b.#"];

impl ComparedBroker {
    /// One random step and its comparison.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.random_step()?;
        self.settled()
    }

    fn random_step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..30 => self.publish(),
            30..58 => self.settle(),
            58..66 => self.get(),
            66..74 => self.consume(),
            74..79 => self.cancel(),
            79..85 => self.declare(),
            85..91 => self.bind(),
            91..93 => self.unbind(),
            93 => self.purge(),
            94 => self.delete(),
            95 => self.recover(),
            96 => self.requeue_parked(),
            97 => self.close_channel(),
            98 => self.disconnect(),
            _ if self.random.one_in(4) => self.burst(),
            _ => self.restart(),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn any_channel(&mut self) -> ChannelKey {
        (*self.random.pick(&CLIENTS), *self.random.pick(&CHANNELS))
    }

    /// A queue that exists, mostly.
    fn any_queue(&mut self) -> Option<String> {
        let names: Vec<&String> = self.naive.queues.keys().collect();
        (!names.is_empty()).then(|| (*self.random.pick(&names)).clone())
    }

    fn publish(&mut self) -> Result<(), String> {
        let count = 1 + self.random.below(10);
        let channel = self.any_channel();
        let messages: Vec<_> = (0..count).map(|_| self.message()).collect();
        self.publish_all(channel, &messages)
    }

    /// More into one queue than it keeps in memory.
    fn burst(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let channel = self.any_channel();
        let large = |fixture: &mut Self| Publication {
            key: queue.clone(),
            exchange: "",
            size: 400_000,
            ..fixture.message()
        };
        let messages: Vec<_> = (0..30).map(|_| large(self)).collect();
        self.publish_all(channel, &messages)
    }

    fn message(&mut self) -> Publication {
        let exchange = *self.random.pick(&["", "amq.direct", "amq.fanout", "amq.topic"]);
        let key = match self.any_queue() {
            Some(queue) if exchange.is_empty() => queue,
            _ => (*self.random.pick(&KEYS)).to_owned(),
        };
        let size = if self.random.one_in(50) { 200_000 } else { *self.random.pick(&[8, 9, 20, 50]) };
        let (persistent, mandatory) = (!self.random.one_in(3), self.random.one_in(3));
        Publication { exchange, key, id: self.number(), persistent, mandatory, size }
    }

    fn publish_all(&mut self, channel: ChannelKey, messages: &[Publication]) -> Result<(), String> {
        self.step = format!("{} messages by {channel:?}, the first {:?}", messages.len(), messages.first());
        let mut expected = Expected::default();
        for message in messages {
            let queues = self.naive.route(message.exchange, &message.key);
            if queues.is_empty() && message.mandatory {
                expected.returned.push((channel.0, message.id));
            }
            self.naive.publish(&queues, message.id, message.persistent);
            self.client(channel).publish(channel.1, message);
        }
        self.compare(&expected)
    }

    fn settle(&mut self) -> Result<(), String> {
        let open: Vec<ChannelKey> =
            self.naive.outstanding.iter().filter(|(_, tags)| !tags.is_empty()).map(|(&key, _)| key).collect();
        if open.is_empty() {
            return Ok(());
        }
        let channel = *self.random.pick(&open);
        let tags: Vec<u64> = self.naive.outstanding[&channel].keys().copied().collect();
        let multiple = self.random.one_in(3);
        let tag = if multiple && self.random.one_in(4) { 0 } else { *self.random.pick(&tags) };
        let how = *self.random.pick(&[How::Ack, How::Ack, How::Requeue, How::Discard]);
        let method = match how {
            How::Ack => Basic::Ack(basic::Ack { delivery_tag: tag, multiple }),
            How::Requeue | How::Discard if multiple || self.random.one_in(2) => {
                Basic::Nack(basic::Nack { delivery_tag: tag, multiple, requeue: how == How::Requeue })
            }
            How::Requeue | How::Discard => {
                Basic::Reject(basic::Reject { delivery_tag: tag, requeue: how == How::Requeue })
            }
        };
        self.step = format!("{method:?} by {channel:?}");
        self.naive.settle(channel, tag, multiple, how);
        self.send(channel, AMQPClass::Basic(method));
        self.compare(&Expected::default())
    }

    fn get(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let (channel, no_ack) = (self.any_channel(), self.random.one_in(3));
        self.step = format!("get from '{queue}' by {channel:?}, no_ack {no_ack}");
        self.send(channel, AMQPClass::Basic(Basic::Get(basic::Get { queue: queue.as_str().into(), no_ack })));
        let mut expected = Expected::default();
        match u32::try_from(self.naive.queues[&queue].ready.len()).expect("few").checked_sub(1) {
            Some(left) => expected.got = Some((channel, queue, left)),
            None => expected.replies.push((channel, AMQPClass::Basic(Basic::GetEmpty(basic::GetEmpty {})))),
        }
        let got = self.compare_got(&expected)?;
        if let (Some(delivery), true) = (got, no_ack) {
            self.naive.forget(&delivery);
        }
        Ok(())
    }

    fn consume(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let (channel, no_ack) = (self.any_channel(), self.random.one_in(6));
        let prefetch = *self.random.pick(&[1, 1, 2, 5, 20, 0]);
        let tag = format!("c{}", self.number());
        self.step =
            format!("consume '{queue}' as {tag} by {channel:?}, prefetch {prefetch}, no_ack {no_ack}");
        let qos = basic::Qos { prefetch_count: prefetch, global: false };
        self.send(channel, AMQPClass::Basic(Basic::Qos(qos)));
        let consume = basic::Consume {
            queue: queue.as_str().into(),
            consumer_tag: tag.as_str().into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.send(channel, AMQPClass::Basic(Basic::Consume(consume)));
        self.consumed.insert(tag.clone(), queue.clone());
        let consumer = Consumer { prefetch: prefetch.into(), no_ack, holding: 0 };
        let known = self.naive.queues.get_mut(&queue).expect("it was picked from them");
        known.consumers.insert((channel, tag.clone()), consumer);
        let ok = basic::ConsumeOk { consumer_tag: tag.as_str().into() };
        self.compare(&Expected {
            replies: vec![
                (channel, AMQPClass::Basic(Basic::QosOk(basic::QosOk {}))),
                (channel, AMQPClass::Basic(Basic::ConsumeOk(ok))),
            ],
            ..Expected::default()
        })
    }

    fn cancel(&mut self) -> Result<(), String> {
        let all: Vec<(String, ChannelKey, String)> = (self.naive.queues.iter())
            .flat_map(|(name, queue)| {
                queue.consumers.keys().map(|(key, tag)| (name.clone(), *key, tag.clone()))
            })
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let (queue, channel, tag) = self.random.pick(&all).clone();
        self.step = format!("cancel {tag} of '{queue}' by {channel:?}");
        self.naive
            .queues
            .get_mut(&queue)
            .expect("it has consumers")
            .consumers
            .remove(&(channel, tag.clone()));
        let cancel = basic::Cancel { consumer_tag: tag.as_str().into(), nowait: false };
        let ok = basic::CancelOk { consumer_tag: tag.as_str().into() };
        self.send(channel, AMQPClass::Basic(Basic::Cancel(cancel)));
        self.compare(&Expected {
            replies: vec![(channel, AMQPClass::Basic(Basic::CancelOk(ok)))],
            ..Expected::default()
        })
    }

    fn declare(&mut self) -> Result<(), String> {
        let number = *self.random.pick(&[0, 1, 2, 3, 4]);
        let (name, declared) = if self.random.one_in(3) {
            (format!("d{number}"), Declaration { durable: true, limit: None, dead_letters: None })
        } else {
            // How a queue is declared follows from its number, so that declaring it again agrees.
            let limit = [None, Some(0), Some(2), None, Some(1)][number];
            let dead_letters = (number > 0).then(|| format!("d{number}"));
            (format!("q{number}"), Declaration { durable: number != 3, limit, dead_letters })
        };
        let channel = self.any_channel();
        self.step = format!("declare '{name}' as {declared:?} by {channel:?}");
        self.naive.declare(&name, &declared);
        let queue = &self.naive.queues[&name];
        let count = |n: usize| u32::try_from(n).expect("few");
        let ok = queue::DeclareOk {
            queue: name.as_str().into(),
            message_count: count(queue.ready.len()),
            consumer_count: count(queue.consumers.len()),
        };
        let declare = queue::Declare {
            queue: name.as_str().into(),
            passive: false,
            durable: declared.durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: arguments(&declared),
        };
        self.send(channel, AMQPClass::Queue(Queue::Declare(declare)));
        self.compare(&Expected {
            replies: vec![(channel, AMQPClass::Queue(Queue::DeclareOk(ok)))],
            ..Expected::default()
        })
    }

    fn bind(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let channel = self.any_channel();
        let exchange = *self.random.pick(&["amq.direct", "amq.fanout", "amq.topic"]);
        let key = *self.random.pick(&PATTERNS);
        self.step = format!("bind '{queue}' to {exchange} with '{key}' by {channel:?}");
        let bind = queue::Bind {
            queue: queue.as_str().into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.naive.bindings.insert((exchange, key.to_owned(), queue));
        self.send(channel, AMQPClass::Queue(Queue::Bind(bind)));
        let ok = AMQPClass::Queue(Queue::BindOk(queue::BindOk {}));
        self.compare(&Expected { replies: vec![(channel, ok)], ..Expected::default() })
    }

    fn unbind(&mut self) -> Result<(), String> {
        let bound: Vec<_> = self.naive.bindings.iter().cloned().collect();
        if bound.is_empty() {
            return Ok(());
        }
        let binding = self.random.pick(&bound).clone();
        let channel = self.any_channel();
        self.step = format!("unbind {binding:?} by {channel:?}");
        self.naive.bindings.remove(&binding);
        let (exchange, key, queue) = binding;
        let unbind = queue::Unbind {
            queue: queue.as_str().into(),
            exchange: exchange.into(),
            routing_key: key.as_str().into(),
            arguments: FieldTable::default(),
        };
        self.send(channel, AMQPClass::Queue(Queue::Unbind(unbind)));
        let ok = AMQPClass::Queue(Queue::UnbindOk(queue::UnbindOk {}));
        self.compare(&Expected { replies: vec![(channel, ok)], ..Expected::default() })
    }

    fn purge(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let channel = self.any_channel();
        self.step = format!("purge '{queue}' by {channel:?}");
        let message_count = u32::try_from(self.naive.purge(&queue)).expect("few");
        let purge = queue::Purge { queue: queue.as_str().into(), nowait: false };
        self.send(channel, AMQPClass::Queue(Queue::Purge(purge)));
        let ok = AMQPClass::Queue(Queue::PurgeOk(queue::PurgeOk { message_count }));
        self.compare(&Expected { replies: vec![(channel, ok)], ..Expected::default() })
    }

    fn delete(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        let channel = self.any_channel();
        self.step = format!("delete '{queue}' by {channel:?}");
        let (ready, cancelled) = self.naive.delete(&queue);
        let message_count = u32::try_from(ready).expect("few");
        let delete =
            queue::Delete { queue: queue.as_str().into(), if_unused: false, if_empty: false, nowait: false };
        self.send(channel, AMQPClass::Queue(Queue::Delete(delete)));
        let ok = AMQPClass::Queue(Queue::DeleteOk(queue::DeleteOk { message_count }));
        self.compare(&Expected { replies: vec![(channel, ok)], cancelled, ..Expected::default() })
    }

    fn requeue_parked(&mut self) -> Result<(), String> {
        let Some(queue) = self.any_queue() else { return Ok(()) };
        self.step = format!("requeue what is parked in '{queue}'");
        let count = self.naive.requeue_parked(&queue);
        let of_broker = self.broker.vhost().find_queue(&queue).ok_or(format!("'{queue}' is gone"))?;
        let moved = self
            .broker
            .parked()
            .requeue(&of_broker, None, self.broker.clock().now())
            .map_err(|fault| fault.to_string())?;
        if (moved.moved, moved.parked) != (count as u64, 0) {
            return Err(format!("of {count} messages {moved:?}"));
        }
        self.compare(&Expected::default())
    }

    fn recover(&mut self) -> Result<(), String> {
        let channel = self.any_channel();
        self.step = format!("recover by {channel:?}");
        self.naive.settle(channel, 0, true, How::Requeue);
        self.send(channel, AMQPClass::Basic(Basic::Recover(basic::Recover { requeue: true })));
        let ok = AMQPClass::Basic(Basic::RecoverOk(basic::RecoverOk {}));
        self.compare(&Expected { replies: vec![(channel, ok)], ..Expected::default() })
    }

    fn close_channel(&mut self) -> Result<(), String> {
        let channel = self.any_channel();
        self.close(channel)?;
        self.client(channel).open(channel.1);
        self.step = format!("open {channel:?}");
        self.compare(&Expected::default())
    }

    pub(super) fn close(&mut self, channel: ChannelKey) -> Result<(), String> {
        self.step = format!("close {channel:?}");
        self.naive.close(channel);
        let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
        self.send(channel, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
        let ok = AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
        self.compare(&Expected { replies: vec![(channel, ok)], ..Expected::default() })
    }

    fn disconnect(&mut self) -> Result<(), String> {
        let index = *self.random.pick(&CLIENTS);
        self.drop_client(index)?;
        self.clients.insert(index, Client::connect(index, &self.broker, &CHANNELS));
        self.step = format!("connect {index}");
        self.compare(&Expected::default())
    }
}

fn arguments(declared: &Declaration) -> FieldTable {
    let mut arguments = FieldTable::default();
    if let Some(limit) = declared.limit {
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongUInt(limit));
    }
    if let Some(target) = &declared.dead_letters {
        let text = |text: &str| AMQPValue::LongString(text.into());
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(target));
    }
    arguments
}

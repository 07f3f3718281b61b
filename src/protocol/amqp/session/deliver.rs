//! From runs in the mailbox to `basic.deliver` frames.
//!
//! A session encodes what its queues dealt until its output is full; the rest waits in the backlog,
//! which the windows of the consumers limit. Small bodies are copied into frames, large ones are
//! shared with the queue's block.

use super::channel::Channel;
use super::connection::Connection;
use super::connection_state::ConnectionState;
use super::stream::numbered;
use crate::arguments::QueueType;
use crate::client::budget::DELIVERIES;
use crate::client::unacked::UnackedRun;
use crate::ids::ConsumerId;
use crate::message::properties;
use crate::message::table::{self, FieldValue};
use crate::message::{BCC, Block, Copies, Message};
use crate::protocol::amqp::wire::encode::{self, Content, Delivery};
use crate::protocol::amqp::wire::frame::FRAME_END;
use crate::protocol::amqp::wire::output::Output;
use crate::queue::Queue;
use crate::queue::mailbox::{DeliveryRun, Mail};
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::ShortString;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// No delivery is encoded beyond this many bytes of output: several times what a socket takes at
/// once.
const OUTPUT_MARK: usize = 1024 * 1024;

/// Bodies from this size on are not copied.
const SHARED_BODY: usize = 16 * 1024;

impl Connection {
    /// Acts upon the backlog as far as the output has room.
    pub(super) fn deliver(&mut self, link: &mut ConnectionState) {
        let mut sent = BTreeSet::new();
        let mark = link.broker.unread().allowed(OUTPUT_MARK);
        link.inbox.more = false;
        while let Some(mail) = link.inbox.backlog.pop_front() {
            if link.inbox.budget.is_spent() {
                link.inbox.backlog.push_front(mail);
                link.inbox.more = true;
                break;
            }
            link.inbox.budget.take(1);
            match mail {
                Mail::Deliver(run) => {
                    let id = run.consumer;
                    let rest =
                        self.consumer_channel(link, id).and_then(|channel| channel.deliver(link, run, mark));
                    sent.insert(id);
                    if let Some(rest) = rest {
                        link.inbox.backlog.push_front(Mail::Deliver(rest));
                        break;
                    }
                }
                Mail::Cancelled(id) => {
                    if let Some(channel) = self.consumer_channel(link, id) {
                        channel.consumer_cancelled(link, id);
                    }
                }
                Mail::Retry => self.retry_get(link),
            }
        }
        for id in sent {
            link.inbox.credit(&link.broker, id, link.now);
        }
    }

    fn consumer_channel(&mut self, link: &ConnectionState, id: ConsumerId) -> Option<&mut Channel> {
        let number = link.inbox.subscriptions.get(&id)?.channel;
        self.channel(number)
    }
}

impl Channel {
    /// Encodes the messages of `run` until the output has `mark` bytes; returns those that are
    /// left.
    pub(super) fn deliver(
        &mut self,
        link: &mut ConnectionState,
        mut run: DeliveryRun,
        mark: usize,
    ) -> Option<DeliveryRun> {
        let subscription = link.inbox.subscriptions.get_mut(&run.consumer)?;
        let out = self.held.out(&mut link.output);
        let (first_index, first_tag) = (run.range.start, self.next_tag);
        let acquired = acquired(&subscription.queue, run.redelivered, run.deliveries);
        let writer = Writer {
            channel: self.number,
            frame_max: link.limits.frame_max,
            consumer_tag: &subscription.tag,
            acquired,
            offsets: subscription.queue.is_stream().then(|| run.first.wrapping_sub(first_index.into())),
            block: &run.block,
            deliveries: run.deliveries,
            plain: run.deliveries | acquired == 0 && !subscription.queue.is_stream(),
        };
        while run.range.start < run.range.end && out.len() < mark {
            let delivery = Delivery { tag: self.next_tag, redelivered: run.redelivered };
            writer.write(out, run.range.start, delivery);
            self.next_tag += 1;
            run.range.start += 1;
        }
        let count = self.next_tag - first_tag;
        link.inbox.budget.take(usize::try_from(count).unwrap_or(usize::MAX) / DELIVERIES);
        subscription.uncredited += run.block.bytes_of(first_index..run.range.start);
        if subscription.no_ack {
            link.tally.delivered_auto_ack += count;
        } else {
            link.tally.delivered_manual_ack += count;
            let (queue, timeout_ms) = (Arc::clone(&subscription.queue), subscription.timeout_ms);
            let due_ms = link.due_after(timeout_ms);
            let outstanding = UnackedRun::new(first_tag, run.first, queue, Some(run.consumer), due_ms);
            self.await_acks(link, outstanding, count);
        }
        if run.redelivered {
            link.tally.redelivered += count;
        }
        if link.client.vhost.is_tracing() {
            self.trace_deliveries(link, &run, first_index);
        }
        run.first += count;
        (run.range.start < run.range.end).then_some(run)
    }

    /// The queue of a consumer is gone: clients that want to know are told (RabbitMQ:
    /// consumer-cancel.md).
    fn consumer_cancelled(&mut self, link: &mut ConnectionState, id: ConsumerId) {
        let Some(subscription) = link.inbox.subscriptions.remove(&id) else { return };
        self.forget_consumer(&subscription.tag);
        // What it held no longer fills the window that the consumers share.
        self.share_room(link);
        if link.capabilities.consumer_cancel_notify {
            self.tell_cancelled(link, &subscription.tag);
        }
    }

    /// Tells the client that a consumer is no more.
    pub(super) fn tell_cancelled(&mut self, link: &mut ConnectionState, tag: &[u8]) {
        let consumer_tag = ShortString::from(String::from_utf8_lossy(tag).into_owned());
        let cancel = basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait: true });
        self.reply(link, &AMQPClass::Basic(cancel));
    }
}

/// Writes deliveries of one run.
struct Writer<'a> {
    channel: u16,
    frame_max: u32,
    consumer_tag: &'a [u8],
    acquired: u32,
    /// The number that record 0 of the block would have in the stream, if the queue is one
    /// (wrapping).
    offsets: Option<u64>,
    block: &'a Block,
    deliveries: u32,
    /// Messages that hide nothing are shown as they came.
    plain: bool,
}

impl Writer<'_> {
    #[inline]
    fn write(&self, out: &mut Output, index: u32, delivery: Delivery) {
        let message = self.block.message(index);
        let properties = if self.plain && message.copies != Copies::Blind {
            Cow::Borrowed(message.properties)
        } else {
            self.rewritten(&message, index)
        };
        let content = Content {
            exchange: message.exchange,
            routing_key: message.routing_key,
            properties: &properties,
            body: message.body,
        };
        if message.body.len() < SHARED_BODY {
            let out = out.own();
            encode::deliver(out, self.channel, self.frame_max, self.consumer_tag, delivery, &content);
        } else {
            self.write_shared(out, index, delivery, &content);
        }
    }

    #[cold]
    fn rewritten<'a>(&self, message: &Message<'a>, index: u32) -> Cow<'a, [u8]> {
        match self.offsets {
            None => shown(message, self.deliveries, self.acquired),
            Some(base) => numbered(message, base.wrapping_add(index.into())),
        }
    }

    fn write_shared(&self, out: &mut Output, index: u32, delivery: Delivery, content: &Content<'_>) {
        let mut body = self.block.body(index);
        let size = body.len() as u64;
        encode::deliver_head(out.own(), self.channel, self.consumer_tag, delivery, content, size);
        let part_max = encode::body_frame_max(self.frame_max);
        while !body.is_empty() {
            let part = body.split_to(body.len().min(part_max));
            let len = u32::try_from(part.len()).expect("a part fits a frame");
            encode::body_frame_head(out.own(), self.channel, len);
            out.share(part);
            out.own().push(FRAME_END);
        }
    }
}

/// How often a message of a quorum queue was delivered before (RabbitMQ: quorum-queues.md); 0 on
/// all others, who do not say. Nearly every delivery that came back counts as failed; of those that
/// do not, a restart or a timeout, one is known.
pub(super) fn acquired(queue: &Queue, redelivered: bool, deliveries: u32) -> u32 {
    if queue.settings.kind == QueueType::Quorum { deliveries.max(u32::from(redelivered)) } else { 0 }
}

/// The properties of a message as clients see them: with headers that tell how many deliveries
/// failed, if any did, and how many there were, where that is said, and without the one that names
/// blind copies.
#[inline]
pub(super) fn shown<'a>(message: &Message<'a>, deliveries: u32, acquired: u32) -> Cow<'a, [u8]> {
    if deliveries | acquired == 0 && message.copies != Copies::Blind {
        return Cow::Borrowed(message.properties);
    }
    rewritten(message.properties, deliveries, acquired)
}

#[cold]
fn rewritten<'a>(raw: &'a [u8], deliveries: u32, acquired: u32) -> Cow<'a, [u8]> {
    let Ok(mut parts) = properties::decode(raw) else { return Cow::Borrowed(raw) };
    let mut headers = table::with(parts.headers.unwrap_or_default(), BCC, None);
    for (header, count) in [("x-delivery-count", deliveries), ("x-acquired-count", acquired)] {
        if count > 0 {
            headers = table::with(&headers, header, Some(&FieldValue::LongLongInt(count.into())));
        }
    }
    parts.headers = Some(&headers);
    let mut rewritten = Vec::with_capacity(raw.len() + headers.len());
    properties::encode(&parts, &mut rewritten);
    Cow::Owned(rewritten)
}

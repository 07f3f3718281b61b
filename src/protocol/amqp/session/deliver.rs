//! From runs in the mailbox to `basic.deliver` frames.
//!
//! A session encodes what its queues dealt until its output is full; the rest waits in the backlog,
//! which the windows of the consumers limit. Small bodies are copied into frames, large ones are
//! shared with the queue's block.

use super::channel_output::ChannelOutput;
use super::connection_state::{ConnectionState, PendingGet};
use super::shown::{acquired, numbered, shown};
use super::trace;
use crate::client::budget::DELIVERIES;
use crate::client::unacked::{Unacked, UnackedRun};
use crate::message::{Block, Copies, Message};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode::{self, Content, Delivery};
use crate::protocol::amqp::wire::frame::FRAME_END;
use crate::protocol::amqp::wire::output::Output;
use crate::queue::Got;
use crate::queue::mailbox::DeliveryRun;
use crate::statistics::Event;
use amq_protocol::protocol::{AMQPClass, basic};
use std::borrow::Cow;
use std::sync::Arc;

/// Bodies from this size on are not copied.
const SHARED_BODY: usize = 16 * 1024;

/// What one channel's client was sent.
pub(super) struct Deliveries {
    next_tag: u64,
    pub(super) unacked: Unacked,
}

impl Deliveries {
    pub(super) fn new() -> Self {
        Self { next_tag: 1, unacked: Unacked::new() }
    }

    /// Encodes the messages of `run` until the output has `mark` bytes; returns those that are
    /// left.
    pub(super) fn deliver(
        &mut self,
        out: &mut ChannelOutput,
        link: &mut ConnectionState,
        mut run: DeliveryRun,
        mark: usize,
    ) -> Option<DeliveryRun> {
        let subscription = link.inbox.subscriptions.get_mut(&run.consumer)?;
        let (channel, frames) = (out.number, out.frames(&mut link.output));
        let (first_index, first_tag) = (run.range.start, self.next_tag);
        let acquired = acquired(&subscription.queue, run.redelivered, run.deliveries);
        let writer = Writer {
            channel,
            frame_max: link.limits.frame_max,
            consumer_tag: &subscription.tag,
            acquired,
            offsets: subscription.queue.is_stream().then(|| run.first.wrapping_sub(first_index.into())),
            block: &run.block,
            deliveries: run.deliveries,
            plain: run.deliveries | acquired == 0 && !subscription.queue.is_stream(),
        };
        while run.range.start < run.range.end && frames.len() < mark {
            let delivery = Delivery { tag: self.next_tag, redelivered: run.redelivered };
            writer.write(frames, run.range.start, delivery);
            self.next_tag += 1;
            run.range.start += 1;
        }
        let count = self.next_tag - first_tag;
        link.inbox.budget.take(usize::try_from(count).unwrap_or(usize::MAX) / DELIVERIES);
        subscription.uncredited += run.block.bytes_of(first_index..run.range.start);
        if subscription.no_ack {
            link.tally.delivered_auto_ack += count;
            out.events.counters.add_alone(Event::DeliverNoAck, count);
        } else {
            link.tally.delivered_manual_ack += count;
            out.events.counters.add_alone(Event::Deliver, count);
            let (queue, timeout_ms) = (Arc::clone(&subscription.queue), subscription.timeout_ms);
            let due_ms = link.due_after(timeout_ms);
            let outstanding = UnackedRun::new(first_tag, run.first, queue, Some(run.consumer), due_ms);
            self.await_acks(link, outstanding, count);
        }
        if run.redelivered {
            link.tally.redelivered += count;
            out.events.counters.add_alone(Event::Redeliver, count);
        }
        if link.client.vhost.is_tracing() {
            trace::deliveries(link, channel, &run, first_index);
        }
        run.first += count;
        (run.range.start < run.range.end).then_some(run)
    }

    /// basic.get. When the message has to be read from disk first, the session waits with
    /// everything that comes after.
    pub(super) fn get(&mut self, out: &mut ChannelOutput, link: &mut ConnectionState, get: PendingGet) {
        let metrics = link.broker.metrics();
        let got = link.broker.get(&get.queue, get.no_ack, &link.inbox.mailbox, link.now);
        let Got::Message { first, block, index, redelivered, deliveries, remaining } = got else {
            if matches!(got, Got::Paging) {
                link.pending_get = Some(get);
            } else {
                metrics.get_empty.add(1);
                out.events.counters.add_alone(Event::GetEmpty, 1);
                out.reply(link, &AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            }
            return;
        };
        let counter = if get.no_ack { &metrics.get_auto_ack } else { &metrics.get_manual_ack };
        counter.add(1);
        metrics.redelivered.add(u64::from(redelivered));
        let event = if get.no_ack { Event::GetNoAck } else { Event::Get };
        out.events.counters.add_alone(event, 1);
        out.events.counters.add_alone(Event::Redeliver, redelivered.into());
        let first_tag = self.next_tag;
        self.next_tag += 1;
        let message = block.message(index);
        let content = Content {
            exchange: message.exchange,
            routing_key: message.routing_key,
            properties: &shown(&message, deliveries, acquired(&get.queue, redelivered, deliveries)),
            body: message.body,
        };
        let delivery = Delivery { tag: first_tag, redelivered };
        let (channel, frames) = (out.number, out.frames(&mut link.output).own());
        encode::get_ok(frames, channel, link.limits.frame_max, delivery, remaining, &content);
        if link.client.vhost.is_tracing() {
            trace::delivery(link, channel, &get.queue, (&message, deliveries), redelivered);
        }
        if !get.no_ack {
            let due_ms = link.due_after(get.queue.consumer_timeout_ms().unwrap_or(u64::MAX));
            let run = UnackedRun::new(first_tag, first, get.queue, None, due_ms);
            self.await_acks(link, run, 1);
        }
    }

    /// Messages that are fetched without ever being acknowledged are not piled up for ever.
    ///
    /// # Errors
    /// 406: there are as many as there may be.
    pub(super) fn check_room(&self, link: &ConnectionState) -> Result<(), AmqpError> {
        let max = link.broker.limits().get().unacked_max;
        if self.unacked.len() >= max as usize {
            return Err(AmqpError::UnackedLimit { max });
        }
        Ok(())
    }

    /// Deliveries are outstanding from now on.
    #[inline]
    fn await_acks(&mut self, link: &mut ConnectionState, run: UnackedRun, count: u64) {
        link.overdue.bring_forward(run.due_ms);
        self.unacked.add(run, count);
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

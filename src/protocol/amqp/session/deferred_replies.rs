//! Replies that promise durability, kept back until the log keeps the promise.
//!
//! The order of frames on a channel is part of the protocol, so while one reply of a channel waits,
//! everything that the channel says queues up behind it.

use crate::ids::Ticket;
use crate::protocol::amqp::wire::output::Output;

/// What one channel keeps back.
#[derive(Debug, Default)]
pub(super) struct DeferredReplies {
    /// Ticket 0: nothing is kept back.
    until: Ticket,
    output: Output,
}

impl DeferredReplies {
    /// From here on nothing leaves before `ticket` is durable.
    pub(super) fn hold(&mut self, ticket: Ticket) {
        self.until = self.until.max(ticket);
    }

    pub(super) fn is_holding(&self) -> bool {
        self.until > Ticket(0)
    }

    /// Where the channel's next frame belongs.
    #[inline]
    pub(super) fn out<'a>(&'a mut self, output: &'a mut Output) -> &'a mut Output {
        if self.is_holding() { &mut self.output } else { output }
    }

    /// Lets everything go if `durable` allows it; whether nothing is kept back any more.
    pub(super) fn release(&mut self, durable: Ticket, output: &mut Output) -> bool {
        if self.until > durable {
            return false;
        }
        if self.is_holding() {
            output.append(&mut self.output);
            *self = Self::default();
        }
        true
    }

    /// Bytes kept back.
    pub(super) fn len(&self) -> usize {
        self.output.len()
    }
}

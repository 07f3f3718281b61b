//! What publishing means on a channel, and what follows of it: confirms, transactions.

use super::channel_output::ChannelOutput;
use super::connection_state::ConnectionState;
use super::consumers::Consumers;
use super::tx::Transaction;
use crate::broker::clients::Publishing;
use crate::client::confirms::{Answer, Confirms, Verdict};
use crate::client::unacked::Unacked;
use crate::ids::Ticket;
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::encode;
use crate::statistics::Event;
use amq_protocol::protocol::{AMQPClass, confirm, tx};
use std::ops::RangeInclusive;

/// What publishing means on a channel.
pub(super) enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Box<Transaction>),
}

impl Mode {
    #[inline]
    pub(super) fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Transaction(tx) => Some(tx),
            Self::Plain | Self::Confirm(_) => None,
        }
    }

    /// The transaction, which grew, may not grow without a limit.
    ///
    /// # Errors
    /// 406: it is too large.
    #[inline]
    pub(super) fn check_transaction(&mut self, link: &mut ConnectionState) -> Result<(), AmqpError> {
        match self {
            Self::Transaction(tx) => tx.check_size(link),
            Self::Plain | Self::Confirm(_) => Ok(()),
        }
    }

    /// confirm.select
    pub(super) fn select_confirms(
        &mut self,
        out: &mut ChannelOutput,
        link: &mut ConnectionState,
        select: &confirm::Select,
    ) -> Result<(), AmqpError> {
        match self {
            Self::Transaction(_) => return Err(AmqpError::ConfirmAfterTx),
            Self::Plain => *self = Self::Confirm(Confirms::default()),
            Self::Confirm(_) => {}
        }
        if !select.nowait {
            out.reply(link, &AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    /// tx.select, tx.commit, tx.rollback. What a rollback takes back is outstanding again in
    /// `unacked`.
    pub(super) fn handle_tx(
        &mut self,
        (out, consumers, unacked): (&mut ChannelOutput, &Consumers, &mut Unacked),
        link: &mut ConnectionState,
        method: &tx::AMQPMethod,
    ) -> Result<(), AmqpError> {
        let reply = match method {
            tx::AMQPMethod::Select(_) => {
                match self {
                    Self::Confirm(_) => return Err(AmqpError::TxAfterConfirm),
                    Self::Plain => *self = Self::Transaction(Box::default()),
                    Self::Transaction(_) => {}
                }
                tx::AMQPMethod::SelectOk(tx::SelectOk {})
            }
            tx::AMQPMethod::Commit(_) => {
                let tx = self.transaction().ok_or(AmqpError::NotTransactional)?;
                if tx.commit(out, link)? {
                    consumers.share_room(link);
                }
                tx::AMQPMethod::CommitOk(tx::CommitOk {})
            }
            tx::AMQPMethod::Rollback(_) => {
                let tx = self.transaction().ok_or(AmqpError::NotTransactional)?;
                tx.roll_back(unacked);
                link.overdue.bring_forward(unacked.due_ms());
                tx::AMQPMethod::RollbackOk(tx::RollbackOk {})
            }
            _ => return Err(AmqpError::UnknownMethod),
        };
        out.reply(link, &AMQPClass::Tx(reply));
        Ok(())
    }

    /// Everything published so far is durable with `ticket`.
    pub(super) fn staged(&mut self, ticket: Ticket) {
        if let Self::Confirm(confirms) = self {
            confirms.staged(ticket);
        }
    }

    /// A queue refused these publishes.
    pub(super) fn refused(&mut self, numbers: RangeInclusive<u64>) {
        if let Self::Confirm(confirms) = self {
            confirms.refuse(numbers);
        }
    }

    /// Answers the publishes that are on disk or refused.
    pub(super) fn confirm(&mut self, out: &mut ChannelOutput, link: &mut ConnectionState, durable: Ticket) {
        let Self::Confirm(confirms) = self else { return };
        confirms.answer(durable, |Answer { verdict, tag, multiple, count }| {
            let number = out.number;
            if verdict == Verdict::Taken {
                link.tally.confirmed += count;
                out.events.counters.add_alone(Event::Confirm, count);
            }
            let frames = out.frames(&mut link.output).own();
            match verdict {
                Verdict::Taken => encode::ack(frames, number, tag, multiple),
                // `requeue` means nothing here; RabbitMQ sets it.
                Verdict::Refused => encode::nack(frames, number, tag, multiple, true),
            }
        });
    }

    /// The ticket that the channel waits for to send its confirms.
    pub(super) fn awaits(&self) -> Option<Ticket> {
        match self {
            Self::Confirm(confirms) => confirms.awaits(),
            Self::Plain | Self::Transaction(_) => None,
        }
    }

    /// What an operator sees: the mode, how many publishes are not confirmed, and how many
    /// publishes and acknowledgements are not committed.
    pub(super) fn counts(&self) -> (Publishing, u64, (u64, u64)) {
        match self {
            Self::Plain => (Publishing::Plain, 0, (0, 0)),
            Self::Confirm(confirms) => (Publishing::Confirm, confirms.unanswered(), (0, 0)),
            Self::Transaction(tx) => (Publishing::Transaction, 0, tx.counts()),
        }
    }
}

//! What a client has a connection keep that it has not finished: bodies whose end has not come, and transactions.
//!
//! Each of them has a limit of its own, but there is one for every channel; this is the limit for all of a connection
//! together. It is looked at once a read, and only after one that brought some of it.

use super::Fault;
use super::channel::Mode;
use super::connection::Connection;
use super::link::Link;
use super::slot::Slot;
use crate::error::AmqpError;

impl Connection {
    /// Ends a connection that keeps too much.
    ///
    /// # Errors
    /// 530, which undoes all of it.
    pub(super) fn check_unfinished(&self, link: &Link) -> Result<(), Fault> {
        if !link.tally.partial && !link.tally.transacted {
            return Ok(());
        }
        let max = link.broker.settings().limits.unfinished_bytes_max;
        let bytes: u64 = self.slots.iter().map(unfinished).sum();
        if bytes <= max {
            return Ok(());
        }
        let why = format!("reached maximum ({max}) of bytes in unfinished bodies and transactions");
        Err(Fault::of(AmqpError::NotAllowed(why), (0, 0)))
    }
}

fn unfinished(slot: &Slot) -> u64 {
    let Slot::Open(channel) = slot else { return 0 };
    let body = channel.incoming.as_ref().map_or(0, |incoming| incoming.bytes());
    let transaction = match &channel.mode {
        Mode::Transaction(tx) => tx.bytes(),
        Mode::Plain | Mode::Confirm(_) => 0,
    };
    body as u64 + transaction as u64
}

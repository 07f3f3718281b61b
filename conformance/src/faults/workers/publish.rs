//! Publishers with confirms, several messages ahead.

use crate::client::ClientError;
use crate::client::incoming::Incoming;
use crate::client::method::select_confirms;
use crate::faults::body;
use crate::faults::dice::Dice;
use crate::faults::history::{Event, Id};
use crate::faults::topology::{Target, choose};
use crate::faults::world::{Session, TICK};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::AMQPMethod as Basic;
use amq_protocol::protocol::connection::AMQPMethod as Connection;
use std::collections::VecDeque;
use std::time::Duration;

/// So many ticks are spent at the end on confirms that have not come yet.
const TICKS_AT_END: u32 = 50;

/// The longest rest between two bursts: a publisher that never rests leaves the processor to nobody
/// else.
const REST_MS_MAX: u64 = 12;

/// Publishes until clients are to end.
pub(super) fn publish(session: &mut Session<'_>, dice: &mut Dice, window: u32) -> Result<(), ClientError> {
    session.call(select_confirms())?;
    let mut confirms = Confirms::default();
    while session.world.goes_on() {
        session.rest();
        if !confirms.blocked {
            for _ in 0..dice.between(1, u64::from(window)) {
                confirms.publish(session, choose(dice))?;
            }
            session.client.flush()?;
        }
        confirms.listen(session, Duration::from_millis(dice.between(0, REST_MS_MAX)))?;
        while (confirms.blocked || confirms.waiting.len() >= window as usize) && session.world.goes_on() {
            confirms.listen(session, TICK)?;
        }
    }
    for _ in 0..TICKS_AT_END {
        if confirms.waiting.is_empty() {
            break;
        }
        confirms.listen(session, TICK)?;
    }
    Ok(())
}

/// Publishes of one channel that have no answer yet.
#[derive(Default)]
pub(super) struct Confirms {
    waiting: VecDeque<(u64, Id)>,
    newest: u64,
    /// The broker has asked for a pause.
    blocked: bool,
}

impl Confirms {
    /// Publishes a message; sent with the next flush.
    pub(super) fn publish(&mut self, session: &mut Session<'_>, target: Target) -> Result<(), ClientError> {
        let id = session.next_id();
        session.record(Event::Published { id, queues: target.queues });
        self.newest += 1;
        self.waiting.push_back((self.newest, id));
        session.client.publish(target.exchange, target.key, &body::encode(id))
    }

    /// Listens for one thing.
    fn listen(&mut self, session: &mut Session<'_>, limit: Duration) -> Result<(), ClientError> {
        match session.client.poll(limit)? {
            Some(incoming) => self.handle(session, &incoming),
            None => Ok(()),
        }
    }

    /// Waits until everything is answered, as long as clients go on.
    pub(super) fn wait(&mut self, session: &mut Session<'_>) -> Result<(), ClientError> {
        session.client.flush()?;
        while !self.waiting.is_empty() && session.world.goes_on() {
            self.listen(session, TICK)?;
        }
        Ok(())
    }

    fn handle(&mut self, session: &Session<'_>, incoming: &Incoming) -> Result<(), ClientError> {
        match &incoming.method {
            AMQPClass::Basic(Basic::Ack(ack)) => {
                self.answered(ack.delivery_tag, ack.multiple, |id| session.record(Event::Confirmed { id }));
            }
            AMQPClass::Basic(Basic::Nack(nack)) => {
                self.answered(nack.delivery_tag, nack.multiple, |id| session.record(Event::Refused { id }));
            }
            AMQPClass::Connection(Connection::Blocked(_)) => self.blocked = true,
            AMQPClass::Connection(Connection::Unblocked(_)) => self.blocked = false,
            other => return Err(ClientError::Broker(format!("{other:?} to a publisher"))),
        }
        Ok(())
    }

    fn answered(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(Id)) {
        self.waiting.retain(|&(number, id)| {
            let is_meant = number == tag || (multiple && (tag == 0 || number < tag));
            if is_meant {
                each(id);
            }
            !is_meant
        });
    }
}

//! Transactions that take from one queue and publish to two others, all or nothing.

use crate::client::ClientError;
use crate::client::method::{ack, commit, consume, prefetch, roll_back, select_tx};
use crate::faults::body;
use crate::faults::dice::Dice;
use crate::faults::history::Event;
use crate::faults::topology::{INPUT, OUTPUTS};
use crate::faults::world::{Session, TICK};

/// Messages that one transaction takes, at most.
const INPUTS_MAX: u64 = 4;

/// Deliveries ahead of their acknowledgements.
const PREFETCH: u16 = 20;

/// One transaction in so many is rolled back.
const ROLLED_BACK: u64 = 7;

/// Takes and publishes until clients are to end.
pub(super) fn transact(session: &mut Session<'_>, dice: &mut Dice) -> Result<(), ClientError> {
    session.call(select_tx())?;
    session.record(Event::Transactional);
    session.consumes(INPUT);
    session.call(prefetch(PREFETCH))?;
    session.call(consume(INPUT))?;
    while session.world.goes_on() {
        session.rest();
        let wanted = dice.between(1, INPUTS_MAX);
        while (session.held() as u64) < wanted {
            let Some(incoming) = session.poll(TICK)? else { break };
            if session.take(INPUT, &incoming).is_none() {
                return Err(ClientError::Broker(format!("{:?} to a consumer", incoming.method)));
            }
        }
        if session.held() > 0 {
            one(session, dice)?;
        }
    }
    Ok(())
}

fn one(session: &mut Session<'_>, dice: &mut Dice) -> Result<(), ClientError> {
    for _ in 0..dice.between(1, 3) {
        let id = session.next_id();
        session.record(Event::Published { id, queues: &OUTPUTS });
        for queue in OUTPUTS {
            session.client.publish("", queue, &body::encode(id))?;
        }
    }
    for tag in session.record_all_settled() {
        session.client.put_method(ack(tag, false))?;
    }
    if dice.one_in(ROLLED_BACK) {
        session.record(Event::RolledBack);
        session.call(roll_back())?;
        return Ok(());
    }
    session.record(Event::CommitTried);
    session.call(commit())?;
    session.record(Event::Committed);
    session.forget_held();
    Ok(())
}

//! Transactions that take from one queue and publish to two others, all or nothing.

use crate::client::ClientError;
use crate::client::method::{ack, commit, consume, prefetch, roll_back, select_tx};
use crate::faults::body;
use crate::faults::dice::Dice;
use crate::faults::history::Event;
use crate::faults::topology::{INPUT, OUTPUTS};
use crate::faults::world::{Seat, TICK};

/// Messages that one transaction takes, at most.
const INPUTS_MAX: u64 = 4;

/// Deliveries ahead of their acknowledgements.
const PREFETCH: u16 = 20;

/// One transaction in so many is rolled back.
const ROLLED_BACK: u64 = 7;

/// Takes and publishes until clients are to end.
pub(super) fn transact(seat: &mut Seat<'_>, dice: &mut Dice) -> Result<(), ClientError> {
    seat.call(select_tx())?;
    seat.record(Event::Transactional);
    seat.consumes(INPUT);
    seat.call(prefetch(PREFETCH))?;
    seat.call(consume(INPUT))?;
    while seat.world.goes_on() {
        seat.rest();
        let wanted = dice.between(1, INPUTS_MAX);
        while (seat.held() as u64) < wanted {
            let Some(incoming) = seat.poll(TICK)? else { break };
            if seat.take(INPUT, &incoming).is_none() {
                return Err(ClientError::Broker(format!("{:?} to a consumer", incoming.method)));
            }
        }
        if seat.held() > 0 {
            one(seat, dice)?;
        }
    }
    Ok(())
}

fn one(seat: &mut Seat<'_>, dice: &mut Dice) -> Result<(), ClientError> {
    for _ in 0..dice.between(1, 3) {
        let id = seat.next_id();
        seat.record(Event::Published { id, queues: &OUTPUTS });
        for queue in OUTPUTS {
            seat.client.publish("", queue, &body::encode(id))?;
        }
    }
    for tag in seat.record_all_settled() {
        seat.client.put_method(ack(tag, false))?;
    }
    if dice.one_in(ROLLED_BACK) {
        seat.record(Event::RolledBack);
        seat.call(roll_back())?;
        return Ok(());
    }
    seat.record(Event::CommitTried);
    seat.call(commit())?;
    seat.record(Event::Committed);
    seat.forget_held();
    Ok(())
}

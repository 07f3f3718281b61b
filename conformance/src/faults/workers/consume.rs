//! Consumers of every temper, and a poller.

use crate::client::ClientError;
use crate::client::method::{consume as consume_method, get, prefetch, reject};
use crate::faults::dice::Dice;
use crate::faults::history::{Fate, Id};
use crate::faults::world::{Seat, TICK};

/// Deliveries ahead of their acknowledgements.
const PREFETCH: u16 = 60;

/// Deliveries after which a consumer asks the broker whether it has taken everything.
const UNTIL_CATCH_UP: u64 = 25;

/// How a consumer goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Acknowledges each delivery at once, and returns some the first time.
    Prompt,
    /// Acknowledges late, and many at a time.
    Late,
    /// Refuses some, returns some, and leaves now and then without settling what it has.
    Choosy,
}

/// Takes deliveries until clients are to end.
pub(super) fn consume(
    seat: &mut Seat<'_>,
    dice: &mut Dice,
    queue: &'static str,
    style: Style,
) -> Result<(), ClientError> {
    seat.consumes(queue);
    seat.call(prefetch(PREFETCH))?;
    seat.call(consume_method(queue))?;
    let mut count = 0_u64;
    let mut patience = dice.between(1, u64::from(PREFETCH));
    while seat.world.goes_on() {
        seat.rest();
        let Some(incoming) = seat.poll(TICK)? else {
            seat.ack_all()?;
            seat.catch_up(PREFETCH)?;
            continue;
        };
        let Some((tag, id, redelivered)) = seat.take(queue, &incoming) else {
            return Err(ClientError::Broker(format!("{:?} to a consumer", incoming.method)));
        };
        count += 1;
        match style {
            Style::Prompt => seat.settle(tag, returned_once(id, redelivered).unwrap_or(Fate::Ack))?,
            Style::Late if seat.held() as u64 >= patience => {
                seat.ack_all()?;
                patience = dice.between(1, u64::from(PREFETCH));
            }
            Style::Late => {}
            Style::Choosy if dice.one_in(400) => return Ok(()),
            Style::Choosy => choose(seat, tag, id, redelivered)?,
        }
        seat.client.flush()?;
        if count.is_multiple_of(UNTIL_CATCH_UP) {
            seat.catch_up(PREFETCH)?;
        }
    }
    seat.ack_all()?;
    seat.catch_up(PREFETCH)
}

/// Some are returned when they come first.
fn returned_once(id: Id, redelivered: bool) -> Option<Fate> {
    (!redelivered && id.number.is_multiple_of(11)).then_some(Fate::Requeue)
}

fn choose(seat: &mut Seat<'_>, tag: u64, id: Id, redelivered: bool) -> Result<(), ClientError> {
    match returned_once(id, redelivered) {
        Some(fate) => seat.settle(tag, fate),
        // Both ways of refusing mean the same.
        None if id.number.is_multiple_of(10) => {
            seat.record_settled(tag, Fate::Reject);
            seat.client.put_method(reject(tag, false))
        }
        None if id.number.is_multiple_of(5) => seat.settle(tag, Fate::Reject),
        None => seat.settle(tag, Fate::Ack),
    }
}

/// Fetches messages one by one until clients are to end.
pub(super) fn poll(seat: &mut Seat<'_>, queue: &'static str) -> Result<(), ClientError> {
    seat.consumes(queue);
    while seat.world.goes_on() {
        seat.rest();
        let answer = seat.call(get(queue))?;
        match seat.take(queue, &answer) {
            Some((tag, id, redelivered)) => {
                let fate = returned_once(id, redelivered).unwrap_or(Fate::Ack);
                seat.settle(tag, fate)?;
            }
            // Nothing comes unasked; this is how long to wait before asking again.
            None => drop(seat.poll(TICK)?),
        }
    }
    seat.catch_up(PREFETCH)
}

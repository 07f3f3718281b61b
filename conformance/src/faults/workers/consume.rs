//! Consumers of every temper, and a poller.

use crate::client::ClientError;
use crate::client::method::{consume as consume_method, get, prefetch, reject};
use crate::faults::dice::Dice;
use crate::faults::history::{Id, Settlement};
use crate::faults::world::{Session, TICK};

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
    session: &mut Session<'_>,
    dice: &mut Dice,
    queue: &'static str,
    style: Style,
) -> Result<(), ClientError> {
    session.consumes(queue);
    session.call(prefetch(PREFETCH))?;
    session.call(consume_method(queue))?;
    let mut count = 0_u64;
    let mut patience = dice.between(1, u64::from(PREFETCH));
    while session.world.goes_on() {
        session.rest();
        let Some(incoming) = session.poll(TICK)? else {
            session.ack_all()?;
            session.catch_up(PREFETCH)?;
            continue;
        };
        let Some((tag, id, redelivered)) = session.take(queue, &incoming) else {
            return Err(ClientError::Broker(format!("{:?} to a consumer", incoming.method)));
        };
        count += 1;
        match style {
            Style::Prompt => {
                session.settle(tag, returned_once(id, redelivered).unwrap_or(Settlement::Ack))?
            }
            Style::Late if session.held() as u64 >= patience => {
                session.ack_all()?;
                patience = dice.between(1, u64::from(PREFETCH));
            }
            Style::Late => {}
            Style::Choosy if dice.one_in(400) => return Ok(()),
            Style::Choosy => choose(session, tag, id, redelivered)?,
        }
        session.client.flush()?;
        if count.is_multiple_of(UNTIL_CATCH_UP) {
            session.catch_up(PREFETCH)?;
        }
    }
    session.ack_all()?;
    session.catch_up(PREFETCH)
}

/// Some are returned when they come first.
fn returned_once(id: Id, redelivered: bool) -> Option<Settlement> {
    (!redelivered && id.number.is_multiple_of(11)).then_some(Settlement::Requeue)
}

fn choose(session: &mut Session<'_>, tag: u64, id: Id, redelivered: bool) -> Result<(), ClientError> {
    match returned_once(id, redelivered) {
        Some(settlement) => session.settle(tag, settlement),
        // Both ways of refusing mean the same.
        None if id.number.is_multiple_of(10) => {
            session.record_settled(tag, Settlement::Reject);
            session.client.put_method(reject(tag, false))
        }
        None if id.number.is_multiple_of(5) => session.settle(tag, Settlement::Reject),
        None => session.settle(tag, Settlement::Ack),
    }
}

/// Fetches messages one by one until clients are to end.
pub(super) fn poll(session: &mut Session<'_>, queue: &'static str) -> Result<(), ClientError> {
    session.consumes(queue);
    while session.world.goes_on() {
        session.rest();
        let answer = session.call(get(queue))?;
        match session.take(queue, &answer) {
            Some((tag, id, redelivered)) => {
                let settlement = returned_once(id, redelivered).unwrap_or(Settlement::Ack);
                session.settle(tag, settlement)?;
            }
            // Nothing comes unasked; this is how long to wait before asking again.
            None => drop(session.poll(TICK)?),
        }
    }
    session.catch_up(PREFETCH)
}

//! The end of an episode: everything that is left is taken out, and what was taken out must not be there any more.

use super::history::{Event, Fate};
use super::topology::{CHURN, LASTING};
use super::world::World;
use crate::client::ClientError;
use crate::client::method::{get, look_for_queue};

/// The reply code for a queue that is not there.
const NOT_FOUND: u16 = 404;

/// Takes everything out of all queues, on a broker that has no other clients.
///
/// # Errors
/// The broker does not do as it should.
pub(crate) fn drain(world: &World) -> Result<(), String> {
    for queue in LASTING.into_iter().chain(CHURN) {
        empty(world, queue).map_err(|why| format!("{queue} cannot be drained: {why}"))?;
    }
    Ok(())
}

fn empty(world: &World, queue: &'static str) -> Result<(), ClientError> {
    let mut seat = world.connect().ok_or_else(|| ClientError::Broker("no connection".into()))?;
    match seat.call(look_for_queue(queue)) {
        Ok(_declare_ok) => seat.record(Event::Looked { queue, there: true }),
        Err(ClientError::Closed { code: NOT_FOUND, .. }) => {
            seat.record(Event::Looked { queue, there: false });
            return Ok(());
        }
        Err(why) => return Err(why),
    }
    seat.record(Event::Consumes { queue });
    loop {
        let answer = seat.call(get(queue))?;
        let Some((tag, ..)) = seat.take(queue, &answer) else { return Ok(()) };
        seat.settle(tag, Fate::Ack)?;
    }
}

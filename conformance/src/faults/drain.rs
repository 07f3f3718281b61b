//! The end of an episode: everything that is left is taken out, and what was taken out must not be
//! there any more.
//!
//! Parked messages come last: an operator moves them back into their queue, which is empty by then.

use super::history::{Event, Settlement};
use super::inject::Stage;
use super::topology::{CHURN, LASTING, PARKED, PARKING};
use super::world::World;
use crate::client::ClientError;
use crate::client::method::{get, look_for_queue};

/// The reply code for a queue that is not there.
const NOT_FOUND: u16 = 404;

/// How often parked messages are moved back while the disk is full: each is a process, so that all
/// together take half a minute or so.
const REQUEUE_TRIES: usize = 1000;

/// Takes everything out of all queues, on a broker that has no other clients.
///
/// # Errors
/// The broker does not do as it should.
pub(crate) fn drain(stage: &Stage<'_>) -> Result<(), String> {
    let failed = |queue, why| format!("{queue} cannot be drained: {why}");
    for queue in LASTING.into_iter().chain(CHURN) {
        empty(stage.world, queue, queue).map_err(|why| failed(queue, why))?;
    }
    for left in (0..REQUEUE_TRIES).rev() {
        match stage.start.ctl(&stage.data, &["requeue_parked", PARKING]) {
            // The disk is full until it has back what was just taken out.
            Err(why) if left > 0 && why.contains("once there is room again") => continue,
            // The disk was full a moment ago: they are back all the same.
            Err(why) if why.contains("applied, but not persisted") => {}
            done => drop(done?),
        }
        break;
    }
    empty(stage.world, PARKING, PARKED).map_err(|why| failed(PARKED, why))
}

/// Takes everything out of `queue`, which a history calls `name`.
fn empty(world: &World, queue: &'static str, name: &'static str) -> Result<(), ClientError> {
    let mut session = world.connect().ok_or_else(|| ClientError::Broker("no connection".into()))?;
    match session.call(look_for_queue(queue)) {
        Ok(_declare_ok) => session.record(Event::Looked { queue, there: true }),
        Err(ClientError::Closed { code: NOT_FOUND, .. }) => {
            session.record(Event::Looked { queue, there: false });
            return Ok(());
        }
        Err(why) => return Err(why),
    }
    session.consumes(name);
    loop {
        let answer = session.call(get(queue))?;
        let Some((tag, ..)) = session.take(name, &answer) else { return Ok(()) };
        session.settle(tag, Settlement::Ack)?;
    }
}

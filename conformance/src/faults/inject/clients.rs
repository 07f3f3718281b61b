//! Clients that behave badly. They stay away from the one queue whose order is checked to the
//! letter.

use crate::client::method::{consume, prefetch, select_confirms};
use crate::client::{ClientError, publish_frames};
use crate::faults::body;
use crate::faults::dice::Dice;
use crate::faults::history::{Event, Id};
use crate::faults::topology::{DEAD, TWO, WORK, choose};
use crate::faults::world::{Session, TICK, World};
use std::time::Duration;

/// What they consume from.
const QUEUES: [&str; 3] = [TWO, WORK, DEAD];

/// Deliveries that a slow reader settles when it reads again, at most.
const LATE_MAX: usize = 5_000;

/// Publishes some, takes some, and is gone in the middle of a frame.
pub(super) fn vanish(world: &World, dice: &mut Dice) -> String {
    let Some(mut session) = world.connect() else { return "a client that finds nobody".into() };
    match vanish_now(&mut session, dice) {
        Ok((sent, whole)) => format!("a client vanishes after {sent} of {whole} bytes of a message"),
        Err(why) => cut(&session, &why),
    }
}

fn vanish_now(session: &mut Session<'_>, dice: &mut Dice) -> Result<(usize, usize), ClientError> {
    if dice.one_in(2) {
        let queue = dice.pick(&QUEUES);
        start_consuming(session, queue, 50)?;
        for _ in 0..dice.between(0, 20) {
            let Some(incoming) = session.poll(TICK)? else { break };
            session.take(queue, &incoming);
        }
    }
    session.call(select_confirms())?;
    for _ in 0..dice.between(0, 20) {
        let (id, target) = (session.next_id(), choose(dice));
        session.record(Event::Published { id, queues: target.queues });
        session.client.publish(target.exchange, target.key, &body::encode(id))?;
    }
    // Nobody publishes as many as to reach this number; a message that has it was never whole.
    let never = Id { channel: session.channel, number: u32::MAX - 7 };
    let bytes = publish_frames("", WORK, &body::encode(never), session.client.frame_max())?.concat();
    let most = u64::try_from(bytes.len() - 1).unwrap_or(1);
    let sent = usize::try_from(dice.between(1, most)).unwrap_or(1);
    session.client.put_bytes(&bytes[..sent])?;
    session.client.flush()?;
    Ok((sent, bytes.len()))
}

/// Takes what it is given no more, and is reset in the end, for there is something that it has not
/// read.
pub(super) fn half_open(world: &World, dice: &mut Dice) -> String {
    let Some(mut session) = world.connect() else { return "a client that finds nobody".into() };
    let (queue, duration) = (dice.pick(&QUEUES), Duration::from_millis(dice.between(20, 400)));
    let begun = start_consuming(&mut session, queue, 0).and_then(|()| {
        // Part of a frame's head: type 1 on channel 1.
        session.client.put_bytes(&[1, 0, 1])?;
        session.client.flush()
    });
    match begun {
        Ok(()) => {
            world.hold(duration);
            format!("a consumer of {queue} is silent for {duration:?}, then reset")
        }
        Err(why) => cut(&session, &why),
    }
}

/// Does not read for a while; then takes and settles everything, and closes in order.
pub(super) fn slow(world: &World, dice: &mut Dice) -> String {
    let Some(mut session) = world.connect() else { return "a client that finds nobody".into() };
    let (queue, duration) = (dice.pick(&QUEUES), Duration::from_millis(dice.between(20, 600)));
    match slow_now(&mut session, queue, duration) {
        Ok(count) => format!("a consumer of {queue} reads {count} messages {duration:?} late"),
        Err(why) => cut(&session, &why),
    }
}

fn slow_now(
    session: &mut Session<'_>,
    queue: &'static str,
    duration: Duration,
) -> Result<usize, ClientError> {
    start_consuming(session, queue, 0)?;
    session.world.hold(duration);
    while session.held() < LATE_MAX {
        let Some(incoming) = session.poll(TICK)? else { break };
        session.take(queue, &incoming);
    }
    let count = session.held();
    session.ack_all()?;
    session.catch_up(1)?;
    session.record(Event::Closed);
    session.client.close()?;
    Ok(count)
}

fn start_consuming(session: &mut Session<'_>, queue: &'static str, count: u16) -> Result<(), ClientError> {
    session.consumes(queue);
    session.call(prefetch(count))?;
    session.call(consume(queue)).map(|_consume_ok| ())
}

fn cut(session: &Session<'_>, why: &ClientError) -> String {
    session.record(Event::Cut { why: why.to_string() });
    format!("a client is cut off: {why}")
}

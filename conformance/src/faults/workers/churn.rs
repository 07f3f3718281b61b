//! One client declares, fills, purges and deletes queues of its own, and looks whether they are as
//! it left them.

use super::publish::Confirms;
use crate::client::ClientError;
use crate::client::method::{declare_queue, delete_queue, get, look_for_queue, purge_queue, select_confirms};
use crate::faults::dice::Dice;
use crate::faults::history::{Event, Removal, Settlement};
use crate::faults::topology::{CHURN, Target};
use crate::faults::world::{Session, TICK};
use amq_protocol::types::FieldTable;
use std::slice;

/// The reply code for a queue that is not there.
const NOT_FOUND: u16 = 404;

/// A client that declares, fills, purges and deletes its own queues and checks what it finds.
#[derive(Debug, Default)]
pub(super) struct Churn {
    /// A look has shown that this one is not there.
    missing: Option<&'static str>,
}

impl Churn {
    /// Goes on until clients are to end, or until a look closes the channel.
    pub(super) fn run(&mut self, session: &mut Session<'_>, dice: &mut Dice) -> Result<(), ClientError> {
        session.call(select_confirms())?;
        let mut confirms = Confirms::default();
        if let Some(queue) = self.missing.take() {
            declare(session, queue)?;
        }
        for queue in CHURN {
            if !self.look(session, queue)? {
                return Ok(());
            }
        }
        while session.world.goes_on() {
            session.rest();
            let which = dice.pick(&[0, 1]);
            let queue = CHURN[which];
            match dice.between(0, 9) {
                0..=4 => {
                    let target = Target { exchange: "", key: queue, queues: slice::from_ref(&CHURN[which]) };
                    for _ in 0..dice.between(1, 12) {
                        confirms.publish(session, target)?;
                    }
                    confirms.wait(session)?;
                }
                5..=6 => fetch(session, queue, dice.between(1, 15))?,
                7 => {
                    remove(session, queue, Removal::Purge)?;
                    fetch(session, queue, 1)?;
                }
                8 => {
                    remove(session, queue, Removal::Delete)?;
                    declare(session, queue)?;
                    fetch(session, queue, 1)?;
                }
                _ => {
                    remove(session, queue, Removal::Delete)?;
                    if !self.look(session, queue)? {
                        return Ok(());
                    }
                }
            }
            drop(session.poll(TICK / 4)?);
        }
        Ok(())
    }

    /// Whether the queue is there; if it is not, the channel is closed, and the next one declares
    /// it.
    fn look(&mut self, session: &mut Session<'_>, queue: &'static str) -> Result<bool, ClientError> {
        let there = match session.call(look_for_queue(queue)) {
            Ok(_declare_ok) => true,
            Err(ClientError::Closed { code: NOT_FOUND, .. }) => false,
            Err(why) => return Err(why),
        };
        session.record(Event::Looked { queue, there });
        if !there {
            self.missing = Some(queue);
        }
        Ok(there)
    }
}

fn declare(session: &mut Session<'_>, queue: &'static str) -> Result<(), ClientError> {
    session.record(Event::DeclareTried { queue });
    session.call(declare_queue(queue, FieldTable::default()))?;
    session.record(Event::Declared { queue });
    Ok(())
}

fn remove(session: &mut Session<'_>, queue: &'static str, how: Removal) -> Result<(), ClientError> {
    session.record(Event::RemoveTried { queue, how });
    session.call(match how {
        Removal::Purge => purge_queue(queue),
        Removal::Delete => delete_queue(queue),
    })?;
    session.record(Event::Removed { queue, how });
    Ok(())
}

/// Takes up to `count` messages out.
fn fetch(session: &mut Session<'_>, queue: &'static str, count: u64) -> Result<(), ClientError> {
    session.consumes(queue);
    for _ in 0..count {
        let answer = session.call(get(queue))?;
        let Some((tag, ..)) = session.take(queue, &answer) else { break };
        session.settle(tag, Settlement::Ack)?;
    }
    Ok(())
}

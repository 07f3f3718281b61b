//! Clients that use the broker until they are told to stop. Each connects again whenever its
//! connection breaks.

mod churn;
mod consume;
mod publish;
mod transact;

use super::dice::Dice;
use super::history::Event;
use super::topology::{CHAIN, DEAD, EXPIRING, ONE, OUTPUTS, PARKING, TWO, WORK};
use super::world::{Session, World};
use crate::client::ClientError;
use std::thread::Scope;

use self::churn::Churn;
use self::consume::{Style, consume, poll};
use self::publish::publish;
use self::transact::transact;

/// How many messages each publisher sends ahead of their confirms.
const WINDOWS: [u32; 3] = [1, 20, 100];

/// Starts them all.
pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, world: &'scope World, seed: u64) {
    let mut streams = (1..).map(move |stream| Dice::new(seed, stream));
    let mut dice = || streams.next().expect("there are many numbers");
    for window in WINDOWS {
        spawn(scope, world, dice(), move |session, dice| publish(session, dice, window));
    }
    let styles = [
        (ONE, Style::Prompt),
        (TWO, Style::Late),
        (WORK, Style::Choosy),
        (WORK, Style::Choosy),
        (OUTPUTS[0], Style::Prompt),
        (OUTPUTS[1], Style::Late),
        (CHAIN[2], Style::Prompt),
        (EXPIRING[1], Style::Prompt),
        (PARKING, Style::Choosy),
    ];
    for (queue, style) in styles {
        spawn(scope, world, dice(), move |session, dice| consume(session, dice, queue, style));
    }
    spawn(scope, world, dice(), |session, _dice| poll(session, DEAD));
    spawn(scope, world, dice(), transact);
    let mut churn = Churn::default();
    spawn(scope, world, dice(), move |session, dice| churn.run(session, dice));
}

/// Runs `job` on a connection after the other.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    world: &'scope World,
    mut dice: Dice,
    mut job: impl FnMut(&mut Session<'_>, &mut Dice) -> Result<(), ClientError> + Send + 'scope,
) {
    scope.spawn(move || {
        while world.goes_on() {
            let Some(mut session) = world.connect() else {
                world.wait_a_moment();
                continue;
            };
            if let Err(why) = job(&mut session, &mut dice) {
                session.record(Event::Cut { why: why.to_string() });
            }
        }
    });
}

//! The broker against a naive one: random operations of several clients, compared after every step.
//!
//! The whole of session, broker and store takes part, the sockets do not. A failure names its seed.

mod client;
mod naive;
mod steps;
mod test_broker;

use self::test_broker::ComparedBroker;
use crate::support::draw::seeds;

/// Enough for some restarts and a backlog that memory does not hold.
const STEPS: usize = 3_000;

#[test]
fn the_broker_does_what_a_naive_one_does() {
    for seed in seeds(1) {
        let mut fixture = ComparedBroker::new(seed).unwrap_or_else(|what| panic!("seed {seed:#x}: {what}"));
        for step in 0..STEPS {
            fixture.step().unwrap_or_else(|what| panic!("seed {seed:#x}, step {step}: {what}"));
        }
    }
}

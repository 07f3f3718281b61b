//! Dead letters of one queue enter another in the order in which they died, whoever finds them
//! dead.

use super::{TestBroker, dies_into, in_order, number, wait_until};
use leveret::clock::Now;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Two threads end what has expired, one of which also publishes.
#[test]
fn two_threads_do_not_change_the_order() {
    const COUNT: u64 = 20_000;
    let fixture = TestBroker::new();
    fixture.declare("dead", &[]);
    let [exchange, key] = dies_into("dead");
    let queue = fixture.declare("q", &[("x-message-ttl", number(1)), exchange, key]);
    let done = AtomicBool::new(false);
    let later = Now { mono_ms: fixture.now.mono_ms + 1, unix_ms: fixture.now.unix_ms + 1 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fixture.broker.dispatch_again(&queue, later);
                }
            });
        }
        for first in (0..COUNT).step_by(8) {
            fixture.publish("q", first..first + 8);
        }
        done.store(true, Ordering::Relaxed);
    });
    wait_until("all have died", || {
        fixture.broker.dispatch_again(&queue, later);
        fixture.stats("dead").ready == COUNT
    });
    in_order(&fixture.drain("dead"), 0..COUNT);
}

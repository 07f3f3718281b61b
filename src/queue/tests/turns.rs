//! Whose turn it is.

use super::*;

#[test]
fn who_comes_waits_for_those_who_wait() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 0));
    bench.subscribe(bench.consumer(2, 0));
    let _ = bench.publish(&["a"], true);
    bench.subscribe(bench.consumer(3, 0));
    let _ = bench.publish(&["b", "c", "d", "e"], true);
    assert_eq!(bench.dealt(), ["1:a", "2:b", "1:c", "3:d", "2:e"]);
    let _ = bench.queue.cancel(ConsumerId(2), NOW);
    bench.subscribe(Consumer { priority: 1, ..bench.consumer(4, 1) });
    let _ = bench.publish(&["f", "g", "h"], true);
    assert_eq!(bench.dealt(), ["4:f", "1:g", "3:h"]);
}

/// Two queues under one limit, each with its publisher, while a session takes and acknowledges:
/// nobody is left in line.
#[test]
fn a_queue_never_waits_in_line_for_nothing() {
    const MESSAGES: u64 = 2000;
    const IDLE_MAX: u32 = 10_000_000;
    let benches = [Bench::new(durable()), Bench::new(durable())];
    let limit = ChannelLimit::new();
    limit.set(2);
    for bench in &benches {
        bench.subscribe(Consumer { channel: Arc::clone(&limit), ..bench.consumer(1, 0) });
    }
    let taken = std::thread::scope(|scope| {
        for bench in &benches {
            scope.spawn(move || (0..MESSAGES).for_each(|_| drop(bench.publish(&["m"], false))));
        }
        let (mut taken, mut idle) = (0, 0);
        while taken < 2 * MESSAGES && idle < IDLE_MAX {
            idle += 1;
            for bench in &benches {
                let mut mail = Vec::new();
                bench.mailbox.take(&mut mail);
                for mail in mail {
                    let Mail::Deliver(run) = mail else { continue };
                    let count = u64::from(run.range.end - run.range.start);
                    (taken, idle) = (taken + count, 0);
                    let _ = bench.queue.settle(&held(1, run.first, count), NOW);
                }
            }
            while let Some((queue, share)) = limit.next() {
                let _ = queue.take_turn(&limit, share, NOW);
            }
        }
        taken
    });
    assert_eq!(taken, 2 * MESSAGES);
}

#[test]
fn one_consumer_is_active_until_it_goes() {
    let bench = Bench::new(Settings { single_active: true, ..durable() });
    bench.subscribe(bench.consumer(1, 1));
    bench.subscribe(Consumer { priority: 1, ..bench.consumer(2, 0) });
    bench.subscribe(Consumer { priority: 5, ..bench.consumer(3, 1) });
    let _ = bench.publish(&["a", "b", "c", "d"], true);
    let _ = bench.queue.settle(&held(1, 0, 1), NOW);
    assert_eq!(bench.dealt(), ["1:a", "1:b"]);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let _ = bench.queue.cancel(ConsumerId(3), NOW);
    assert_eq!(bench.dealt(), ["3:c", "2:d"], "the highest is next");
    assert!(bench.queue.subscribe(Consumer { exclusive: true, ..bench.consumer(4, 0) }, NOW).is_err());
}

#[test]
fn a_higher_one_takes_over_a_quorum_queue_from_one_that_holds_nothing() {
    let bench = Bench::new(Settings { single_active: true, kind: QueueType::Quorum, ..durable() });
    bench.subscribe(bench.consumer(1, 0));
    let _ = bench.publish(&["a"], true);
    bench.subscribe(Consumer { priority: 1, ..bench.consumer(2, 0) });
    bench.subscribe(Consumer { priority: 1, ..bench.consumer(3, 0) });
    let _ = bench.publish(&["b"], true);
    assert_eq!(bench.dealt(), ["1:a"]);
    let _ = bench.queue.settle(&held(1, 0, 1), NOW);
    bench.subscribe(Consumer { priority: 2, ..bench.consumer(4, 0) });
    assert_eq!(bench.dealt(), ["2:b"]);
    let _ = bench.queue.cancel(ConsumerId(2), NOW);
    let _ = bench.publish(&["c"], true);
    assert_eq!(bench.dealt(), ["4:c"]);
}

#[test]
fn who_is_next_gets_first_what_the_one_before_gives_back() {
    let bench = Bench::new(Settings { single_active: true, ..durable() });
    bench.subscribe(bench.consumer(1, 3));
    bench.subscribe(bench.consumer(2, 0));
    let _ = bench.publish(&["a", "b", "c", "d", "e"], true);
    assert_eq!(bench.dealt(), ["1:a", "1:b", "1:c"]);
    let _ = bench.queue.leave(ConsumerId(1), NOW);
    let _ = bench.queue.put_back(&held(1, 2, 1), Requeue::Unsent, NOW);
    assert!(bench.dealt().is_empty());
    let _ = bench.queue.put_back(&held(1, 0, 2), Requeue::Failed, NOW);
    assert_eq!(bench.dealt(), ["2:a!", "2:b!", "2:c", "2:d", "2:e"]);
}

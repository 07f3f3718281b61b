//! Priorities: which message comes first.

use super::*;
use crate::arguments::Priorities;

fn prioritized(most: u8) -> Settings {
    Settings { priorities: Some(Priorities { most, unset: 0 }), ..durable() }
}

fn publish(bench: &Bench, messages: &[(&str, u8)]) {
    let mut builder = BlockBuilder::default();
    for &(body, priority) in messages {
        builder.push(&Message { priority: Some(priority), ..message(body.as_bytes(), true) });
    }
    let effects = bench.queue.enqueue(&Arc::new(builder.build()), NOW).1;
    bench.serve(effects);
}

fn get(bench: &Bench) -> String {
    match bench.queue.get(true, &bench.mailbox, NOW).0 {
        Got::Message { block, index, .. } => String::from_utf8(block.message(index).body.to_vec()).unwrap(),
        Got::Empty | Got::Paging => String::new(),
    }
}

#[test]
fn the_highest_priority_comes_first_and_then_the_oldest() {
    let bench = Bench::new(prioritized(5));
    publish(&bench, &[("a0", 0), ("b3", 3), ("c3", 3), ("d9", 9), ("e1", 1)]);
    publish(&bench, &[("f5", 5), ("g0", 0)]);
    let order: Vec<String> = (0..7).map(|_| get(&bench)).collect();
    assert_eq!(order, ["d9", "f5", "b3", "c3", "e1", "a0", "g0"]);
    assert_eq!(bench.counts(), (0, 0));
}

#[test]
fn what_may_have_been_delivered_elsewhere_says_so_in_its_place() {
    let bench = Bench::new(Settings { priorities: Some(Priorities { most: 5, unset: 2 }), ..durable() });
    let _ = bench.publish(&["a"], true);
    let again = Block::of(&message(b"b", true)).redelivered();
    let _ = bench.queue.enqueue(&Arc::new(again), NOW).1;
    let _ = bench.publish(&["c"], true);
    publish(&bench, &[("first", 5)]);
    assert_eq!(bench.counts(), (4, 0));
    bench.subscribe(bench.consumer(1, 10));
    assert_eq!(bench.dealt(), ["1:first", "1:a", "1:b!", "1:c"]);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    bench.subscribe(Consumer { no_ack: true, ..bench.consumer(2, 0) });
    let told = bench.disk.kept().told.len();
    let again = Block::of(&message(b"d", true)).redelivered();
    let _ = bench.queue.enqueue(&Arc::new(again), NOW).1;
    assert_eq!(bench.dealt(), ["2:d!"]);
    let told = bench.disk.kept().told.split_off(told);
    assert!(told.is_empty(), "what was consumed as it came does not concern the disk: {told:?}");
}

#[test]
fn a_consumer_who_waits_takes_what_comes_first() {
    let bench = Bench::new(prioritized(5));
    bench.subscribe(bench.consumer(1, 1));
    publish(&bench, &[("a1", 1), ("b2", 2), ("c3", 3)]);
    assert_eq!(bench.dealt(), ["1:a1"]);
    let _ = bench.queue.settle(&held(1, crate::ids::lane_start(4), 1), NOW);
    assert_eq!(bench.dealt(), ["1:c3"]);
}

#[test]
fn what_comes_back_has_its_old_place_among_its_like() {
    let bench = Bench::new(prioritized(5));
    publish(&bench, &[("a2", 2), ("b2", 2), ("c2", 2)]);
    bench.subscribe(bench.consumer(1, 2));
    assert_eq!(bench.dealt(), ["1:a2", "1:b2"]);
    publish(&bench, &[("d4", 4), ("e0", 0)]);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let first = crate::ids::lane_start(3);
    let _ = bench.queue.put_back(&held(1, first, 2), Requeue::Failed, NOW);
    let order: Vec<String> = (0..5).map(|_| get(&bench)).collect();
    assert_eq!(order, ["d4", "a2", "b2", "c2", "e0"]);
}

#[test]
fn a_backlog_of_many_priorities_is_paged_and_keeps_its_order() {
    let bench = Bench::new(prioritized(3));
    let body = "x".repeat(50_000);
    for n in 0..400_u16 {
        publish(&bench, &[(&format!("{n:03}{body}"), u8::try_from(n % 4).unwrap())]);
    }
    assert!(bench.queue.stats().resident < 6 << 20);
    bench.subscribe(bench.consumer(1, 0));
    let mut order = Vec::new();
    loop {
        let dealt = bench.dealt();
        if dealt.is_empty() {
            break;
        }
        let bytes = dealt.len() * 60_000;
        order.extend(dealt.into_iter().map(|dealt| dealt[2..5].parse::<u16>().unwrap()));
        let effects = bench.queue.credit(ConsumerId(1), bytes, NOW);
        bench.serve(effects);
    }
    let mut expected: Vec<u16> = (0..400).collect();
    expected.sort_by_key(|n| (3 - n % 4, *n));
    assert_eq!(order, expected);
}

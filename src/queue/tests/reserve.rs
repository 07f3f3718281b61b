//! Room that a transaction takes before its messages come.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::*;
use crate::arguments::{LengthLimit, Overflow};

fn limited(messages: u64, bytes: Option<u64>) -> Settings {
    let overflow = Overflow::Reject;
    Settings { length: Some(LengthLimit { messages, bytes, overflow }), ..durable() }
}

fn block(bodies: &[&str]) -> Arc<Block> {
    let mut builder = BlockBuilder::default();
    bodies.iter().for_each(|body| builder.push(&message(body.as_bytes(), true)));
    Arc::new(builder.build())
}

impl Bench {
    fn reserve(&self, bodies: &[&str]) -> Option<Reservation> {
        let (block, mut wanted) = (block(bodies), Wanted::default());
        (0..block.len()).for_each(|index| wanted.add(&block, index));
        self.queue.reserve(&wanted)
    }

    fn fill(&self, room: &mut Reservation, bodies: &[&str]) {
        let effects = self.queue.enqueue_reserved(room, &block(bodies), NOW).1;
        assert!(effects.refused.is_empty());
    }

    fn reserved(&self) -> Reservation {
        self.queue.of_classic(|classic| classic.reserved())
    }
}

#[test]
fn what_is_reserved_is_nobody_elses() {
    let bench = Bench::new(limited(3, None));
    let mut room = bench.reserve(&["a", "b"]).unwrap();
    assert_eq!(bench.reserve(&["c", "d"]), None);
    assert_eq!(bench.publish(&["x", "y"], true).refused, [1..2]);
    bench.fill(&mut room, &["a"]);
    assert_eq!(bench.publish(&["z"], true).refused, [0..1], "one is still to come");
    bench.fill(&mut room, &["b"]);
    assert_eq!(
        (room, bench.reserved(), bench.counts()),
        (Reservation::default(), Reservation::default(), (3, 0))
    );
    assert_eq!(bench.reserve(&["c"]), None);
    assert_eq!(bench.reserve(&[]), Some(Reservation::default()));
}

#[test]
fn what_is_given_back_is_everybodys() {
    let bench = Bench::new(limited(u64::MAX, Some(5)));
    let mut room = bench.reserve(&["aa", "bb"]).unwrap();
    assert_eq!(bench.reserve(&["cc"]), None);
    bench.fill(&mut room, &["aa"]);
    assert_eq!((room.messages(), room.bytes), (1, 2));
    bench.queue.give_back(room);
    assert_eq!(bench.reserved(), Reservation::default());
    let mut room = bench.reserve(&["ccc"]).unwrap();
    bench.fill(&mut room, &["ccc"]);
    assert_eq!(bench.reserve(&["d"]), None);
    assert_ne!(bench.reserve(&["", ""]), None, "what has no body takes no bytes");
}

#[test]
fn all_fit_or_none() {
    let bench = Bench::new(limited(4, Some(5)));
    assert_eq!(bench.reserve(&["aaa", "bbb", "c"]), None, "although the first and the last would");
    assert_eq!(bench.reserved(), Reservation::default());
    let bench = Bench::new(limited(0, None));
    bench.subscribe(bench.consumer(1, 0));
    assert_eq!(bench.reserve(&["a"]), None, "it is full before anybody waits");
}

#[test]
fn who_waits_makes_room() {
    let bench = Bench::new(limited(1, Some(3)));
    bench.subscribe(bench.consumer(1, 2));
    bench.subscribe(bench.consumer(2, 1));
    assert_eq!(bench.reserve(&["a", "b", "c", "d", "e"]), None);
    assert_eq!(bench.reserve(&["a", "large"]), None);
    let mut room = bench.reserve(&["aaa", "bbb", "ccc", "ddd"]).unwrap();
    assert_eq!((room.dealt, room.kept, room.bytes), (3, 1, 3));
    assert_eq!(bench.reserve(&["x"]), None);
    assert_eq!(bench.publish(&["x"], true).refused, [0..1]);
    bench.fill(&mut room, &["aaa", "bbb"]);
    bench.fill(&mut room, &["ccc", "ddd"]);
    assert_eq!(bench.dealt(), ["1:aaa", "2:bbb", "1:ccc"]);
    assert_eq!((bench.counts(), bench.reserved()), ((1, 3), Reservation::default()));
}

#[test]
fn who_waits_for_others_too_makes_none() {
    let bench = Bench::new(limited(1, None));
    let consumer = bench.consumer(1, 0);
    consumer.channel.set(5);
    bench.subscribe(consumer);
    assert_eq!(bench.reserve(&["a", "b"]), None);
    bench.subscribe(Consumer { no_ack: true, ..bench.consumer(2, 0) });
    assert_ne!(bench.reserve(&["a", "b", "c"]), None);
}

#[test]
fn the_one_active_consumer_makes_room_alone() {
    let bench = Bench::new(Settings { single_active: true, ..limited(1, None) });
    bench.subscribe(bench.consumer(1, 2));
    bench.subscribe(bench.consumer(2, 9));
    assert_eq!(bench.reserve(&["a", "b", "c", "d"]), None);
    let mut room = bench.reserve(&["a", "b", "c"]).unwrap();
    bench.fill(&mut room, &["a", "b", "c"]);
    assert_eq!((bench.dealt(), bench.counts()), (vec!["1:a".into(), "1:b".into()], (1, 2)));
}

#[test]
fn a_queue_that_is_deleted_takes_anything() {
    let bench = Bench::new(limited(1, None));
    let mut room = bench.reserve(&["a"]).unwrap();
    bench.queue.close(false, false).unwrap();
    bench.fill(&mut room, &["a"]);
    bench.queue.give_back(room);
    assert_eq!(bench.reserve(&["a", "b"]), Some(Reservation::default()));
}

/// A letter that was refused because of what is reserved finds room when that is given back.
#[test]
fn who_waits_for_room_is_called_when_it_is_given_back() {
    let (bench, source) = (Bench::new(limited(1, None)), Bench::new(durable()));
    let room = bench.reserve(&["a"]).unwrap();
    let mut wanted = Wanted::default();
    wanted.add(&block(&["b"]), 0);
    assert_eq!(bench.queue.reserve_for(&source.queue, &wanted), None);
    let called = bench.queue.of_classic(|classic| classic.give_back(room));
    assert_eq!(called.len(), 1);
    assert_ne!(bench.queue.reserve_for(&source.queue, &wanted), None);
}

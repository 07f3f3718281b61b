//! The order of messages, whatever is read together, and clients that do not read.

use crate::session::script::{check_whole, play};
use crate::session::wire::encode;
use crate::session::world::{Pieces, World};
use leveret::broker::BrokerSettings;

#[test]
fn each_queue_keeps_the_order_of_its_publisher() {
    // In one read, by routes that share queues in every way: both, one, the other, none.
    check_whole(
        "
        > 1 queue.declare q nowait
        > 1 queue.declare r nowait
        > 1 queue.declare s nowait
        > 1 queue.bind q amq.fanout '' nowait
        > 1 queue.bind r amq.fanout '' nowait
        > 1 basic.publish '' q 1
        > 1 basic.publish '' s 1
        > 1 basic.publish amq.fanout a 2
        > 1 basic.publish '' q 3
        > 1 basic.publish '' r 3
        > 1 basic.publish amq.fanout b 4
        > 1 basic.publish '' s 2
        > 1 basic.publish '' q *70000
        > 1 basic.publish '' q 6
        > 1 basic.consume q q no-ack
        > 1 basic.consume r r no-ack
        > 1 basic.consume s s no-ack
        < 1 basic.consume-ok q
        < 1 basic.consume-ok r
        < 1 basic.consume-ok s
        < 1 basic.deliver q 1 '' q 1
        < 1 basic.deliver q 2 amq.fanout a 2
        < 1 basic.deliver q 3 '' q 3
        < 1 basic.deliver q 4 amq.fanout b 4
        < 1 basic.deliver q 5 '' q *70000
        < 1 basic.deliver q 6 '' q 6
        < 1 basic.deliver r 7 amq.fanout a 2
        < 1 basic.deliver r 8 '' r 3
        < 1 basic.deliver r 9 amq.fanout b 4
        < 1 basic.deliver s 10 '' s 1
        < 1 basic.deliver s 11 '' s 2
        ",
    );
}

#[test]
fn a_route_is_forgotten_when_the_topology_changes() {
    check_whole(
        "
        > 1 queue.declare q nowait
        > 1 queue.declare r nowait
        > 1 queue.bind q amq.topic a.* nowait
        > 1 basic.publish amq.topic a.b 1
        > 1 queue.bind r amq.topic a.b nowait
        > 1 basic.publish amq.topic a.b 2
        > 1 queue.unbind q amq.topic a.*
        > 1 basic.publish amq.topic a.b 3
        > 1 queue.declare q passive
        > 1 queue.declare r passive
        < 1 queue.unbind-ok
        < 1 queue.declare-ok q 2 0
        < 1 queue.declare-ok r 2 0
        ",
    );
}

#[test]
fn a_client_that_does_not_read_costs_a_bounded_amount() {
    let mut world = World::new(Pieces::Whole, BrokerSettings::default());
    play(
        &mut world,
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c no-ack
        < 1 basic.consume-ok c
        ",
    );
    world.client("a").deaf = true;
    let batch = encode("1 basic.publish '' q *1000").repeat(100);
    // More than the output and the consumer's window take, and less than makes a queue page out.
    for _ in 0..25 {
        world.say("a", &batch);
    }
    let session = &mut world.client("a").session;
    let waiting = session.output().len();
    assert!((1_000_000..2_000_000).contains(&waiting), "{waiting} bytes wait to be written");
    assert!(session.wants_input(), "deliveries that it does not take do not keep a client from being heard");

    // What comes back does: whoever asks has to listen.
    let asks = encode("1 basic.publish '' nowhere *1000 mandatory").repeat(200);
    let mut rounds = 0;
    while world.client("a").session.wants_input() && rounds < 200 {
        world.say("a", &asks);
        rounds += 1;
    }
    let session = &mut world.client("a").session;
    assert!(!session.wants_input(), "{} bytes wait to be written", session.output().len());
    assert!(session.output().len() < 8_000_000, "{} bytes wait to be written", session.output().len());

    world.client("a").deaf = false;
    world.settle();
    assert!(world.client("a").session.wants_input());
    let heard = world.heard("a");
    let tags = heard.iter().filter_map(|sentence| sentence.strip_prefix("1 basic.deliver c ")).count();
    assert_eq!(tags, 2_500, "every message arrives in the end");
}

#[test]
fn acknowledgements_in_any_order_are_counted_right() {
    let mut world = World::new(Pieces::Whole, BrokerSettings::default());
    play(&mut world, "> 1 queue.declare q\n< 1 queue.declare-ok q 0 0");
    world.say("a", &encode("1 basic.publish '' q x").repeat(1000));
    play(&mut world, "> 1 basic.qos 1000\n< 1 basic.qos-ok");
    world.say("a", &encode("1 basic.consume q c"));
    assert_eq!(world.heard("a").len(), 1001);
    // 7 and 1000 have no common factor, so this names every second tag once, scattered.
    for step in 0..500 {
        let tag = (step * 14) % 1000 + 1;
        world.say("a", &encode(&format!("1 basic.ack {tag}")));
    }
    assert_eq!(world.broker.gauges().messages_unacked, 500);
    world.say("a", &encode("1 basic.nack 500 multiple requeue"));
    let again = world.heard("a");
    assert_eq!(again.len(), 250, "what was refused comes again");
    assert!(again[0].starts_with("1 basic.deliver c 1001 redelivered"), "{}", again[0]);
    play(
        &mut world,
        "
        > 1 basic.ack 0 multiple
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 1
        ",
    );
    assert_eq!(world.broker.gauges().messages_unacked, 0);
}

//! How much a session does before others have their turn. That no turn of any test takes more steps
//! than a worker may be held for is looked at in `world`; here is what would take many more, and
//! that others are served meanwhile.

use crate::session::script::play;
use crate::session::wire::encode;
use crate::session::world::{Pieces, World, limited};
use leveret::blocking;
use leveret::broker::{AlarmLimits, BrokerSettings};
use leveret::config::Limits;

fn world() -> World {
    let mut world = World::new(Pieces::Whole, BrokerSettings::default());
    play(&mut world, "> 1 access.request\n< 1 access.request-ok");
    world
}

fn bytes(sentences: impl IntoIterator<Item = String>) -> Vec<u8> {
    sentences.into_iter().flat_map(|sentence| encode(&sentence)).collect()
}

/// Says all of it; in how many turns the broker listened, and how much it took off the worker.
fn say(world: &mut World, sentences: impl IntoIterator<Item = String>) -> (u32, u64) {
    let (turns, runs) = (world.client("a").turns, blocking::runs());
    world.say("a", &bytes(sentences));
    (world.client("a").turns - turns, blocking::runs() - runs)
}

/// Queues `q0`, `q1`... that are bound to the exchanges, which are made.
fn fan_out(world: &mut World, exchanges: &[&str], queues: usize) {
    say(world, exchanges.iter().map(|exchange| format!("1 exchange.declare {exchange} fanout")));
    for queue in 0..queues {
        let bind = |exchange| format!("1 queue.bind q{queue} {exchange} k");
        let binds = exchanges.iter().map(bind);
        say(world, [format!("1 queue.declare q{queue} exclusive")].into_iter().chain(binds));
    }
    world.heard("a");
}

#[test]
fn others_are_served_between_the_parts_of_a_long_read() {
    let mut world = world();
    let read = bytes((0..5000).map(|number| format!("1 queue.declare q{number} exclusive")));
    assert!(world.begin_to_say("a", &read), "there is more to do");
    world.settle();
    let mut answers = world.heard("a");
    play(
        &mut world,
        "
        b> 1 queue.declare other exclusive
        b< 1 queue.declare-ok other 0 0
        ! lost b
        ",
    );
    let mut turns = 1;
    while world.begin_to_say("a", &[]) {
        turns += 1;
    }
    world.settle();
    answers.append(&mut world.heard("a"));
    assert!((20..=100).contains(&turns), "{turns}");
    assert_eq!(answers.first(), Some(&"1 queue.declare-ok q0 0 0".to_owned()));
    assert_eq!(answers.len(), 5000, "each is answered");
    assert_eq!(answers.last(), Some(&"1 queue.declare-ok q4999 0 0".to_owned()), "in order");
}

#[test]
fn a_read_for_many_fanouts() {
    let mut world = world();
    fan_out(&mut world, &["x", "y"], 200);
    say(&mut world, ["1 queue.declare more exclusive".to_owned(), "1 queue.bind more y k".to_owned()]);
    world.heard("a");
    // Each has a block of its own, because the one before goes to some of the same queues.
    let publish =
        |number: u32| format!("1 basic.publish {} k m", if number.is_multiple_of(2) { "x" } else { "y" });
    let (turns, _) = say(&mut world, (0..100).map(publish));
    assert!((25..=100).contains(&turns), "{turns} turns for 20,000 enqueues");
    say(&mut world, ["1 basic.get q7 no-ack".to_owned()]);
    assert_eq!(world.heard("a"), ["1 basic.get-ok 1 x k 99 m"]);
}

#[test]
fn many_queues_that_go_with_their_consumers() {
    let mut world = world();
    let queues = (0..1200).flat_map(|number| {
        [
            format!("1 queue.declare q{number} durable auto-delete"),
            format!("1 basic.consume q{number} c{number}"),
        ]
    });
    say(&mut world, queues);
    let waits = world.log.waits();
    say(&mut world, ["1 channel.close".to_owned()]);
    assert_eq!(world.broker.gauges().queues, 0);
    let waits = world.log.waits() - waits;
    assert!(waits >= 2, "{waits} times there had to be room in the log");
}

/// It would be asked without end otherwise.
#[test]
fn what_is_left_while_publishers_wait_is_not_asked_for() {
    let alarms = AlarmLimits { memory_bytes: 1000, disk_free_bytes: 1000 };
    let mut world = World::new(Pieces::Whole, BrokerSettings { alarms, ..BrokerSettings::default() });
    play(&mut world, "> 1 access.request\n< 1 access.request-ok");
    let fanouts = ["x", "y"];
    fan_out(&mut world, &fanouts, 200);
    world.broker.alarms().observe_memory(2000);
    let publishes = (0..100).map(|number| format!("1 basic.publish {} k{number} m", fanouts[number % 2]));
    let declare = "1 queue.declare last exclusive".to_owned();
    let bind = "1 queue.bind last x k".to_owned();
    say(&mut world, [declare.clone(), bind].into_iter().chain(publishes).chain([declare]));
    assert!(!world.client("a").session.wants_input() && !world.client("a").session.has_more_input());
    world.broker.alarms().observe_memory(500);
    world.client("a").session.mailbox().wake();
    world.settle();
    assert_eq!(world.heard("a").last().map(String::as_str), Some("1 queue.declare-ok last 50 0"));
}

#[test]
fn one_fanout_that_is_wider_than_a_turn() {
    let mut world = world();
    fan_out(&mut world, &["x"], 1500);
    let (_, runs) = say(&mut world, ["1 basic.publish x k m".to_owned()]);
    assert_eq!(runs, 1, "it is done beside the workers");
    assert_eq!(world.broker.gauges().messages_ready, 1500);
}

#[test]
fn keys_that_are_looked_up_in_a_large_table() {
    let mut world = world();
    let bind = |number: u32| format!("1 queue.bind q amq.headers k x-match=any-with-x x-h{number}=1");
    say(&mut world, ["1 queue.declare q exclusive".to_owned()].into_iter().chain((0..1600).map(bind)));
    let (turns, runs) =
        say(&mut world, (0..200).map(|number| format!("1 basic.publish amq.headers k{number} m")));
    assert!(turns >= 20 && runs == 0, "{turns} turns, {runs}");
    say(&mut world, (1600..2200).map(bind));
    let (_, runs) = say(&mut world, ["1 basic.publish amq.headers k m".to_owned()]);
    assert_eq!(runs, 1);
}

#[test]
fn many_deliveries() {
    let mut world = world();
    say(&mut world, ["1 queue.declare q exclusive".to_owned()]);
    for _read in 0..10 {
        // Each is a block of its own.
        for _message in 0..300 {
            say(&mut world, ["1 basic.publish '' q m".to_owned()]);
        }
    }
    world.heard("a");
    world.begin_to_say("a", &bytes(["1 basic.consume q c no-ack".to_owned()]));
    assert!(world.client("a").session.has_more_mail(), "not all 3000 in one turn");
    world.settle();
    let heard = world.heard("a");
    assert_eq!(heard.len(), 3001);
    assert_eq!(heard.last().map(String::as_str), Some("1 basic.deliver c 3000 '' q m"));
}

#[test]
fn many_messages_that_go_back_or_are_done() {
    let limits = Limits { unacked_max: 10_000, ..Limits::default() };
    let mut world = World::new(Pieces::Whole, limited(limits));
    play(&mut world, "> 1 access.request\n< 1 access.request-ok");
    say(&mut world, ["1 queue.declare q exclusive".to_owned()]);
    say(&mut world, (0..3000).map(|number| format!("1 basic.publish '' q {number}")));
    let get_all = |world: &mut World| {
        world.heard("a");
        say(world, (0..3000).map(|_| "1 basic.get q".to_owned()));
        assert_eq!(world.heard("a").len(), 3000);
    };
    get_all(&mut world);
    let (_, runs) = say(&mut world, ["1 basic.recover requeue".to_owned()]);
    assert!(runs > 0 && world.heard("a") == ["1 basic.recover-ok"]);
    get_all(&mut world);
    let (_, runs) = say(&mut world, ["1 basic.nack 0 multiple requeue".to_owned()]);
    assert!(runs > 0);
    assert_eq!(world.broker.gauges().messages_ready, 3000);
    get_all(&mut world);
    let (_, runs) = say(&mut world, ["1 basic.ack 0 multiple".to_owned()]);
    assert!(runs > 0);
    assert_eq!((world.broker.gauges().messages_ready, world.broker.gauges().messages_unacked), (0, 0));
    say(&mut world, (0..3000).map(|number| format!("1 basic.publish '' q {number}")));
    get_all(&mut world);
    let (_, runs) = say(&mut world, ["1 channel.close".to_owned()]);
    assert!(runs > 0);
    assert_eq!(world.broker.gauges().messages_ready, 3000);
}

#[test]
fn what_is_large_is_deleted_beside_the_workers() {
    let mut world = world();
    say(&mut world, ["1 queue.declare q exclusive".to_owned(), "1 exchange.declare x topic".to_owned()]);
    let bind = |number: u32| format!("1 queue.bind q x k{number}");
    say(&mut world, (0..2100).map(bind));
    let (_, runs) = say(&mut world, ["1 queue.delete q".to_owned()]);
    assert!(runs > 0, "its bindings");
    say(&mut world, ["1 queue.declare q exclusive".to_owned()].into_iter().chain((0..2100).map(bind)));
    let (_, runs) = say(&mut world, ["1 exchange.delete x".to_owned()]);
    assert!(runs > 0, "its bindings");
    let fill = |world: &mut World| {
        for _message in 0..2100 {
            say(world, ["1 basic.publish '' q m".to_owned()]);
        }
        world.heard("a");
    };
    fill(&mut world);
    let (_, runs) = say(&mut world, ["1 queue.purge q".to_owned()]);
    assert!(runs > 0 && world.heard("a") == ["1 queue.purge-ok 2100"]);
    fill(&mut world);
    let (_, runs) = say(&mut world, ["1 queue.delete q".to_owned()]);
    assert!(runs > 0 && world.heard("a") == ["1 queue.delete-ok 2100"], "{runs}");
}

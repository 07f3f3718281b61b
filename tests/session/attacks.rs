//! Clients that want to harm: each attack ends, nothing of it stays behind, and others are served
//! as before.

use crate::session::script::play;
use crate::session::wire::encode;
use crate::session::world::{Pieces, World, limited};
use leveret::broker::{BrokerSettings, Gauges};
use leveret::config::Limits;

/// A normal client is served.
#[track_caller]
fn check_served(world: &mut World) {
    play(
        world,
        "
        c> 1 queue.declare served exclusive
        c< 1 queue.declare-ok served 0 0
        c> 1 confirm.select
        c< 1 confirm.select-ok
        c> 1 basic.publish '' served hello
        c< 1 basic.ack 1
        c> 1 basic.get served no-ack
        c< 1 basic.get-ok 1 '' served 0 hello
        ! lost c
        ",
    );
}

/// Plays an attack of the client `a`, which then vanishes.
#[track_caller]
fn check(limits: Limits, attack: impl FnOnce(&mut World)) {
    let mut world = World::new(Pieces::Whole, limited(limits));
    play(&mut world, "> 1 access.request\n< 1 access.request-ok");
    attack(&mut world);
    let now = world.now;
    world.client("a").session.handle_disconnect(now);
    check_served(&mut world);
    assert_eq!(world.broker.gauges(), Gauges::default(), "something stayed behind");
}

fn say(world: &mut World, sentences: impl IntoIterator<Item = String>) {
    let bytes: Vec<u8> = sentences.into_iter().flat_map(|sentence| encode(&sentence)).collect();
    world.say("a", &bytes);
}

#[test]
fn a_flood_of_tiny_frames() {
    check(Limits::default(), |world| {
        for _round in 0..10 {
            world.say("a", &encode("0 heartbeat").repeat(30_000));
            say(world, (0..3000).map(|_| "1 basic.publish '' nowhere ''".to_owned()));
            say(world, (0..3000).map(|_| "1 basic.publish '' nowhere '' mandatory".to_owned()));
            assert!(world.client("a").session.wants_input());
            world.heard("a");
        }
    });
}

/// Requests without reading their answers: soon nothing more is read of them.
#[test]
fn a_client_that_asks_and_does_not_listen() {
    check(Limits::default(), |world| {
        world.client("a").deaf = true;
        let requests = encode("1 queue.declare amq.direct-is-no-queue passive");
        world.say("a", &requests);
        world.say("a", &encode("1 channel.close-ok"));
        world.say("a", &encode("1 channel.open"));
        let asks = encode("1 basic.qos 0 1 false").repeat(1000);
        for _round in 0..2000 {
            world.say("a", &asks);
            if !world.client("a").session.wants_input() {
                break;
            }
        }
        assert!(!world.client("a").session.wants_input());
        assert!(world.client("a").session.output().len() < 1100 * 1024);
    });
}

#[test]
fn channels_that_come_and_go() {
    check(Limits::default(), |world| {
        for number in 0..20_000_u32 {
            let channel = 2 + number % 2000;
            say(world, [format!("{channel} channel.open"), format!("{channel} channel.close")]);
            world.heard("a");
        }
        assert_eq!(world.broker.gauges().channels, 1);
    });
}

#[test]
fn queues_that_come_and_go() {
    check(Limits { queues_max: 10, ..Limits::default() }, |world| {
        for number in 0..5000 {
            say(
                world,
                [
                    format!("1 queue.declare q{number} durable"),
                    format!("1 queue.bind q{number} amq.topic #.{number}"),
                    format!("1 queue.delete q{number}"),
                ],
            );
            let last = world.heard("a").pop();
            assert_eq!(last.as_deref(), Some("1 queue.delete-ok 0"));
        }
    });
}

/// A body is announced on every channel, and does not come.
#[test]
fn bodies_that_are_announced_and_do_not_come() {
    check(Limits::default(), |world| {
        for channel in 2..=2047 {
            say(
                world,
                [
                    format!("{channel} channel.open"),
                    format!("{channel} method 60 40 0000 00 0161 00"),
                    format!("{channel} content-header 60 16777216"),
                    format!("{channel} content-body x"),
                ],
            );
        }
        world.heard("a");
        assert_eq!(world.broker.gauges().channels, 2047);
    });
}

/// What is larger than any message is refused by its header alone.
#[test]
fn bodies_beyond_all_measure() {
    for (size, refusal) in [
        (
            u64::MAX,
            "0 connection.close 501 FRAME_ERROR - content body size 18446744073709551615 exceeds maximum allowed size \
             536870912 (60,40)",
        ),
        (
            16_777_217,
            "1 channel.close 406 PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216 \
             (60,40)",
        ),
    ] {
        let mut world = World::new(Pieces::Whole, BrokerSettings::default());
        play(
            &mut world,
            &format!("> 1 method 60 40 0000 00 0161 00\n> 1 content-header 60 {size}\n< {refusal}"),
        );
        check_served(&mut world);
    }
}

/// A table within a table, and so on: as deep as a frame has room for.
#[test]
fn tables_without_a_bottom() {
    let mut table = Vec::new();
    while table.len() < 100_000 {
        let mut outer = Vec::with_capacity(table.len() + 7);
        outer.extend_from_slice(b"\x01kF");
        outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        outer.extend_from_slice(&table);
        table = outer;
        if table.len() > 3000 {
            // Made of copies from here on, or making it would take longer than refusing it.
            let inner = table.clone();
            while table.len() < 90_000 {
                table.extend_from_slice(&inner);
            }
            break;
        }
    }
    let digits: String = table.iter().map(|byte| format!("{byte:02x}")).collect();
    let len = format!("{:08x}", table.len());
    let mut world = World::new(Pieces::Whole, BrokerSettings::default());
    play(
        &mut world,
        &format!(
            "
            > 1 method 50 10 0000 0171 00 {len} {digits}
            < 0 connection.close 502 SYNTAX_ERROR - field table nested too deep (50,10)
            "
        ),
    );
    check_served(&mut world);
}

/// Patterns of the worst kind that is allowed, and keys that all of them have to be held against.
#[test]
fn topics_that_match_in_many_ways() {
    check(Limits { topic_hashes_max: 16, ..Limits::default() }, |world| {
        say(world, ["1 queue.declare q exclusive".to_owned()]);
        for number in 0..200 {
            let pattern = format!("{}.x{number}", ["#.a"; 16].join("."));
            say(world, [format!("1 queue.bind q amq.topic {pattern}")]);
            assert_eq!(world.heard("a").pop().as_deref(), Some("1 queue.bind-ok"), "{number}");
        }
        for number in 0..200 {
            let key = format!("{}.y{number}", ["a"; 120].join("."));
            say(world, [format!("1 basic.publish amq.topic {key} x")]);
        }
        assert_eq!(world.broker.metrics().unroutable_dropped.get(), 200);
    });
}

/// It takes deliveries, and stops; what it was dealt goes to another consumer.
#[test]
fn a_client_that_stops_reading() {
    let mut world = World::new(Pieces::Whole, limited(Limits { write_timeout_s: 30, ..Limits::default() }));
    play(
        &mut world,
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        ! wait 100000
        ! open a
        ",
    );
    world.client("a").deaf = true;
    play(
        &mut world,
        "
        b> 1 basic.publish '' q one
        ! wait 29999
        ! open a
        ! wait 1
        ! closed a
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 1 redelivered '' q 0 x-delivery-count=1 one
        ",
    );
}

/// It is slow, but it reads.
#[test]
fn a_client_that_reads_slowly_stays() {
    let mut world = World::new(Pieces::Whole, limited(Limits { write_timeout_s: 30, ..Limits::default() }));
    play(
        &mut world,
        "> 1 queue.declare q\n< 1 queue.declare-ok q 0 0\n> 1 basic.consume q c\n< 1 basic.consume-ok c",
    );
    world.client("a").deaf = true;
    play(&mut world, "b> 1 basic.publish '' q *1000");
    for _byte in 0..100 {
        play(&mut world, "! wait 29000");
        world.client("a").session.output().advance(1);
    }
    play(&mut world, "! wait 29000\n! open a\n! wait 30000\n! wait 30000\n! closed a");
}

/// Each of them may have a megabyte and more ahead, but not all together. A client that reads gets
/// everything nevertheless.
#[test]
fn many_clients_that_do_not_read() {
    let limits = Limits { unread_bytes_max: 300_000, ..Limits::default() };
    let mut world = World::new(Pieces::Whole, limited(limits));
    let names: Vec<_> = ('d'..'x').map(String::from).collect();
    for name in &names {
        play(&mut world, &format!("{name}> 1 queue.declare {name}\n{name}< 1 queue.declare-ok {name} 0 0"));
        for _message in 0..40 {
            play(&mut world, &format!("> 1 basic.publish '' {name} *20000"));
        }
    }
    for name in &names {
        world.client(name).deaf = true;
        play(&mut world, &format!("{name}> 1 basic.consume {name} c no-ack"));
    }
    let ready: usize = names.iter().map(|name| world.client(name).session.output().len()).sum();
    assert!(ready < 300_000 + names.len() * 100_000, "{ready}");
    let unread = world.broker.unread().bytes();
    assert!((300_000..300_000 + names.len() * 200_000).contains(&unread), "{unread}");
    for name in &names {
        let now = world.now;
        let client = world.client(name);
        client.deaf = false;
        client.session.handle_mail(now);
        world.settle();
        assert_eq!(world.heard(name).len(), 41, "{name}: a consume-ok and all messages");
    }
    assert_eq!(world.broker.unread().bytes(), 0);
}

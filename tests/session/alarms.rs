//! Memory or disk are short: who publishes waits and is told why, who consumes goes on.

use crate::session::script::{opening, play};
use crate::session::world::{Pieces, World};
use leveret::broker::{AlarmLimits, BrokerSettings};

/// A part of a large message to `q`, whose other parts do not come.
const PART: &str = "
        > 1 method 60 40 0000 00 0171 00
        > 1 content-header 60 1000000
        > 1 content-body x
        ";

/// On each side of the limits, which are 1000.
const MUCH: u64 = 2000;
const LITTLE: u64 = 500;

fn world(pieces: Pieces) -> World {
    limited(pieces, 1000)
}

fn limited(pieces: Pieces, memory_bytes: u64) -> World {
    let alarms = AlarmLimits { memory_bytes, disk_free_bytes: 1000 };
    let mut world = World::new(pieces, BrokerSettings { alarms, ..BrokerSettings::default() });
    play(&mut world, "> 1 queue.declare q\n< 1 queue.declare-ok q 0 0");
    world
}

/// Sets memory in use and free disk, and has everybody look.
fn machine(world: &mut World, resident: u64, free: u64) {
    let alarms = world.broker.alarms();
    alarms.observe_memory(resident);
    alarms.observe_disk(free);
    world.client("a").session.mailbox().wake();
    world.settle();
}

#[track_caller]
fn check(resident: u64, free: u64, reason: &str) {
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        let mut world = world(pieces);
        machine(&mut world, resident, free);
        play(
            &mut world,
            &format!(
                "
                b> 1 basic.consume q c no-ack
                b< 1 basic.consume-ok c
                ! reads a
                > 1 basic.publish '' q one
                < 0 connection.blocked {reason}
                b< 1 basic.deliver c 1 '' q one
                ! ignores a
                > 1 basic.publish '' q two
                b> 1 queue.declare r
                b< 1 queue.declare-ok r 0 0
                ! reads b
                "
            ),
        );
        machine(&mut world, LITTLE, MUCH);
        play(&mut world, "! reads a\n< 0 connection.unblocked\nb< 1 basic.deliver c 2 '' q two");
    }
}

#[test]
fn memory_is_short() {
    check(MUCH, MUCH, "low on memory");
}

#[test]
fn disk_is_short() {
    check(LITTLE, LITTLE, "low on disk");
}

#[test]
fn both_are_short() {
    check(MUCH, LITTLE, "low on memory & disk");
}

#[test]
fn as_long_as_anything_is_short_publishers_wait() {
    let mut world = world(Pieces::Whole);
    machine(&mut world, MUCH, LITTLE);
    play(&mut world, "> 1 basic.publish '' q one\n< 0 connection.blocked low on memory & disk");
    machine(&mut world, LITTLE, LITTLE);
    play(&mut world, "! ignores a");
    play(&mut world, "! disk full");
    machine(&mut world, LITTLE, MUCH);
    play(&mut world, "! ignores a\n! disk good\n! wake a\n< 0 connection.unblocked\n! reads a");
}

/// What is short may be so for less time than passes until somebody looks again: the store finds
/// the disk full and has room a moment later.
#[test]
fn a_publisher_that_was_told_to_wait_is_remembered_until_it_goes_on() {
    let mut world = world(Pieces::Whole);
    let must_wake = |world: &World| {
        let alarms = world.broker.alarms();
        alarms.has_somebody_to_wake(alarms.shortage(world.broker.health()))
    };
    play(
        &mut world,
        "! disk full\n> 1 basic.publish '' q one\n< 0 connection.blocked low on disk\n! ignores a",
    );
    assert!(!must_wake(&world), "it is full");
    play(&mut world, "! disk good");
    assert!(must_wake(&world) && !must_wake(&world), "it is told once");
    play(&mut world, "! disk full\n! wake a\n! ignores a\n! disk good");
    assert!(must_wake(&world), "it found the disk full again when it looked");
    play(&mut world, "! wake a\n< 0 connection.unblocked\n! reads a");
    assert!(!must_wake(&world));
}

/// Who consumes may declare a little; what is defined takes room, too, and that nobody consumes.
#[test]
fn little_can_be_defined_while_something_is_short() {
    let note = "n".repeat(14_000);
    let declare = |queue: &str| format!("> 1 queue.declare {queue} durable plain plain x-note={note}");
    for (memory, what) in [
        (MUCH, "memory is short, and nothing more can be defined before less is in use"),
        (LITTLE, "the disk is full, and nothing more can be defined before there is room"),
    ] {
        let mut world = limited(Pieces::Whole, 1000);
        machine(&mut world, memory, MUCH);
        if memory == LITTLE {
            play(&mut world, "! disk full");
        }
        for number in 0..73 {
            let queue = format!("many{number}");
            play(&mut world, &format!("{}\n< 1 queue.declare-ok {queue} 0 0", declare(&queue)));
        }
        play(
            &mut world,
            &format!(
                "{}
                < 1 channel.close 406 PRECONDITION_FAILED - cannot declare queue 'more' in vhost '/': {what} (50,10)
                > 1 channel.close-ok
                > 1 channel.open
                < 1 channel.open-ok
                {}
                < 1 queue.declare-ok many0 0 0
                > 1 queue.delete many1
                < 1 queue.delete-ok 0
                {}
                < 1 queue.declare-ok more 0 0
                > 1 queue.bind more amq.headers k x-note={note}
                < 1 channel.close 406 PRECONDITION_FAILED - cannot bind to exchange 'amq.headers' in vhost '/': {what} (50,20)
                > 1 channel.close-ok
                > 1 channel.open
                < 1 channel.open-ok
                ",
                declare("more"), declare("many0"), declare("more"),
            ),
        );
        if memory == MUCH {
            // As much as is left may come with consumers, and come back with them.
            let refused = format!(
                "
                > 1 basic.consume q c no-ack x-note={note}
                < 1 channel.close 406 PRECONDITION_FAILED - cannot consume from queue 'q' in vhost '/': {what} (60,20)
                > 1 channel.close-ok
                > 1 channel.open
                < 1 channel.open-ok
                > 1 basic.consume q c no-ack x-priority=7
                < 1 basic.consume-ok c
                > 1 basic.cancel c
                < 1 basic.cancel-ok c
                "
            );
            let taken = format!(
                "
                > 1 queue.delete many2
                < 1 queue.delete-ok 0
                > 1 basic.consume q c no-ack x-note={note}
                < 1 basic.consume-ok c
                > 1 basic.cancel c
                < 1 basic.cancel-ok c
                "
            );
            play(&mut world, &format!("{refused}{taken}{taken}").replacen("many2", "many3", 1));
        }
        machine(&mut world, LITTLE, MUCH);
        play(&mut world, &format!("! disk good\n{}\n< 1 queue.declare-ok again 0 0", declare("again")));
    }
}

/// Memory that definitions take is not waited for until somebody measures it.
#[test]
fn what_is_defined_counts_before_memory_is_measured() {
    let mut world = limited(Pieces::Whole, 10_000_000);
    machine(&mut world, 4_000_000, MUCH);
    let note = "n".repeat(14_000);
    for number in 0..120 {
        let declare = format!(
            "> 1 queue.declare q{number} plain plain x-note={note}\n< 1 queue.declare-ok q{number} 0 0"
        );
        play(&mut world, &declare);
    }
    assert!(world.broker.alarms().memory_is_short());
    machine(&mut world, 9_000_000, MUCH);
    assert!(!world.broker.alarms().memory_is_short(), "it was less than expected");
}

/// A body that never ends is memory too.
#[test]
fn a_part_of_a_message_counts() {
    let mut world = world(Pieces::Whole);
    machine(&mut world, MUCH, MUCH);
    play(
        &mut world,
        &format!(
            "
            {PART}
            < 0 connection.blocked low on memory
            ! ignores a
            "
        ),
    );
}

/// Heartbeats of a client that is not read are not missed, however long it takes.
#[test]
fn who_does_not_understand_is_not_told() {
    let mut world = world(Pieces::Whole);
    machine(&mut world, MUCH, MUCH);
    play(
        &mut world,
        &format!(
            "
            {}
            h> 1 channel.open
            h< 1 channel.open-ok
            h> 1 basic.publish '' q one
            ! ignores h
            ! wait 1300000
            h< 0 heartbeat
            ! open h
            ",
            opening("2047 131072 600")
        ),
    );
}

/// Who does not take what is there for it has less time while memory is short.
#[test]
fn who_does_not_read_is_not_waited_for() {
    let mut world = world(Pieces::Whole);
    play(&mut world, "b> 1 basic.consume q c no-ack\nb< 1 basic.consume-ok c");
    world.client("b").deaf = true;
    play(&mut world, "> 1 basic.publish '' q one\n! wait 20000\n! open b");
    machine(&mut world, MUCH, MUCH);
    play(&mut world, "! wake b\n! wait 9999\n! open b");
    world.client("b").session.output().advance(1);
    play(&mut world, "! wait 9999\n! open b\n! wait 10001\n! closed b\n! open a");
}

/// Its publisher is not read, so that it can never end: it is given up, for the others who wait.
#[test]
fn a_part_of_a_message_is_not_kept_while_memory_is_short() {
    let mut world = world(Pieces::Whole);
    machine(&mut world, LITTLE, LITTLE);
    play(
        &mut world,
        &format!(
            "
            {PART}
            < 0 connection.blocked low on disk
            ! wait 60000
            ! wait 1000
            ! ignores a
            ! open a
            "
        ),
    );
    machine(&mut world, MUCH, MUCH);
    play(
        &mut world,
        "
        ! wait 1000
        < 0 connection.close 530 NOT_ALLOWED - the content on channel 1 did not go on for 60 s (0,0)
        > 0 connection.close-ok
        ! closed a
        ",
    );
}

/// Memory is measured now and then: what comes between two measurements must not go beyond the
/// limit.
#[track_caller]
fn check_unfinished(limit: u64, begin: &str, more: &str) {
    let mut world = limited(Pieces::Whole, limit);
    machine(&mut world, LITTLE, MUCH);
    play(&mut world, &format!("{begin}\n! reads a"));
    play(&mut world, &format!("{more}\n< 0 connection.blocked low on memory\n! ignores a"));
    // Measured, it is within the limit.
    machine(&mut world, LITTLE, MUCH);
    play(&mut world, "< 0 connection.unblocked\n! reads a");
}

#[test]
fn a_transaction_counts_before_it_is_measured() {
    check_unfinished(
        1000,
        "> 1 tx.select\n< 1 tx.select-ok\n> 1 basic.publish '' q *10",
        "> 1 basic.publish '' q *300",
    );
}

#[test]
fn a_body_counts_before_it_is_measured() {
    let begin = |channel, size| {
        format!("> {channel} method 60 40 0000 00 0171 00\n> {channel} content-header 60 {size}\n")
    };
    let part = |channel, len| format!("> {channel} content-body {}\n", "x".repeat(len));
    check_unfinished(100_000, &(begin(1, 600_000) + &part(1, 10_000)), &part(1, 60_000));
    // Many that are small are as much as a large one.
    check_unfinished(
        100_000,
        &(begin(1, 60_000) + &part(1, 40_000) + "> 2 channel.open\n< 2 channel.open-ok"),
        &(begin(2, 60_000) + &part(2, 40_000)),
    );
}

//! Clients that ask for more than there may be: what they are told, and that what there is goes on.

use crate::session::script::play;
use crate::session::world::{Pieces, World, limited};
use leveret::config::Limits;

#[track_caller]
fn check(limits: &Limits, script: &str) {
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        play(&mut World::new(pieces, limited(limits.clone())), script);
    }
}

#[test]
fn connections() {
    check(
        &Limits { connections_max: 1, ..Limits::default() },
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN guest guest
        h< 0 connection.tune 2047 131072 60
        h> 0 connection.tune-ok 2047 131072 0
        h> 0 connection.open /
        h< 0 connection.close 530 NOT_ALLOWED - connection refused: node connection limit (1) is reached (10,40)
        h> 0 connection.close-ok
        ! closed h
        ! lost a
        b> 1 queue.declare r
        b< 1 queue.declare-ok r 0 0
        ",
    );
}

#[test]
fn channels_of_all_connections() {
    check(
        &Limits { channels_max: 2, ..Limits::default() },
        "
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 2 channel.open
        < 0 connection.close 530 NOT_ALLOWED - number of channels opened on node 'leveret' has reached the maximum \
         allowed limit of (2) (0,0)
        > 0 connection.close-ok
        b> 2 channel.open
        b< 2 channel.open-ok
        ",
    );
}

#[test]
fn consumers() {
    check(
        &Limits { consumers_per_channel_max: 1, ..Limits::default() },
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q one
        < 1 basic.consume-ok one
        > 1 basic.consume q two
        < 0 connection.close 530 NOT_ALLOWED - reached maximum (1) of consumers per channel (60,20)
        > 0 connection.close-ok
        ",
    );
}

#[test]
fn queues() {
    check(
        &Limits { queues_max: 1, ..Limits::default() },
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare r
        < 1 channel.close 406 PRECONDITION_FAILED - cannot declare queue 'r': queue limit in cluster (1) is reached (50,10)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.delete q
        < 1 queue.delete-ok 0
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        ",
    );
}

#[test]
fn exchanges() {
    check(
        &Limits { exchanges_max: 8, ..Limits::default() },
        "
        > 1 exchange.declare x fanout
        < 1 exchange.declare-ok
        > 1 exchange.declare x fanout
        < 1 exchange.declare-ok
        > 1 exchange.declare y fanout
        < 1 channel.close 406 PRECONDITION_FAILED - cannot declare exchange 'y' in vhost '/': exchange limit of 8 is reached (40,10)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 exchange.delete x
        < 1 exchange.delete-ok
        > 1 exchange.declare y fanout
        < 1 exchange.declare-ok
        ",
    );
}

/// Bindings end in every way there is, and each makes room.
#[test]
fn bindings() {
    let full = "1 channel.close 406 PRECONDITION_FAILED - cannot bind to exchange 'x' in vhost '/': binding limit of 2 is reached";
    check(
        &Limits { bindings_max: 2, ..Limits::default() },
        &format!(
            "
            > 1 exchange.declare x direct
            < 1 exchange.declare-ok
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 queue.bind q x 1
            < 1 queue.bind-ok
            > 1 queue.bind q x 2
            < 1 queue.bind-ok
            > 1 queue.bind q x 2
            < 1 queue.bind-ok
            > 1 queue.bind q x 3
            < {full} (50,20)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 queue.unbind q x 2
            < 1 queue.unbind-ok
            > 1 queue.bind q x 3
            < 1 queue.bind-ok
            > 1 queue.delete q
            < 1 queue.delete-ok 0
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 queue.bind q x 1
            < 1 queue.bind-ok
            > 1 queue.bind q x 2
            < 1 queue.bind-ok
            > 1 exchange.delete x
            < 1 exchange.delete-ok
            > 1 exchange.declare x direct
            < 1 exchange.declare-ok
            > 1 queue.bind q x 1
            < 1 queue.bind-ok
            > 1 queue.bind q x 2
            < 1 queue.bind-ok
            > 1 queue.bind q x 3
            < {full} (50,20)
            "
        ),
    );
}

#[test]
fn patterns_that_match_in_many_ways() {
    check(
        &Limits::default(),
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.bind q amq.topic a.#.b.#.c#.*
        < 1 queue.bind-ok
        > 1 queue.bind q amq.direct #.#.#
        < 1 queue.bind-ok
        > 1 queue.bind q amq.topic #.a.#.#
        < 1 channel.close 406 PRECONDITION_FAILED - Topic binding key '#.a.#.#' uses 3 '#' wildcards, at most 2 are \
         allowed (50,20)
        ",
    );
}

#[test]
fn arguments() {
    let half = "y".repeat(150);
    let (long, why) = (format!("{half} x-more={half}"), "have 324 bytes, more than 300");
    check(
        &Limits { arguments_bytes_max: 300, ..Limits::default() },
        &format!(
            "
            > 1 queue.declare q x-note={long}
            < 1 channel.close 406 PRECONDITION_FAILED - arguments for queue 'q' in vhost '/' {why} (50,10)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 exchange.declare x direct x-note={long}
            < 1 channel.close 406 PRECONDITION_FAILED - arguments for exchange 'x' in vhost '/' {why} (40,10)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 queue.bind q amq.headers k x-note={long}
            < 1 channel.close 406 PRECONDITION_FAILED - arguments for exchange 'amq.headers' in vhost '/' {why} (50,20)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 basic.consume q c x-note={long}
            < 1 channel.close 406 PRECONDITION_FAILED - arguments for queue 'q' in vhost '/' {why} (60,20)
            "
        ),
    );
}

#[test]
fn unacknowledged_messages_without_a_prefetch() {
    check(
        &Limits { unacked_max: 2, ..Limits::default() },
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 basic.publish '' q three
        > 1 basic.publish '' q four
        > 1 basic.publish '' q five
        > 1 basic.publish '' q six
        > 1 basic.get q
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 5 one
        < 1 basic.get-ok 2 '' q 4 two
        > 1 basic.get q
        < 1 channel.close 406 PRECONDITION_FAILED - reached maximum (2) of unacknowledged messages (60,70)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.purge q
        < 1 queue.purge-ok 6
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 basic.publish '' q three
        < 1 basic.deliver c 1 '' q one
        < 1 basic.deliver c 2 '' q two
        > 1 basic.ack 1
        < 1 basic.deliver c 3 '' q three
        ",
    );
}

#[test]
fn transactions() {
    check(
        &Limits { transaction_bytes_max: 10_000, ..Limits::default() },
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 tx.select
        < 1 tx.select-ok
        > 1 basic.publish '' q *5000
        > 1 basic.publish '' q *5000
        < 1 channel.close 406 PRECONDITION_FAILED - transaction is larger than 10000 bytes (60,40)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 0
        ",
    );
}

/// What is acknowledged in a transaction is remembered piece by piece.
#[test]
fn acknowledgements_in_a_transaction() {
    let acks: String = (1..=20).map(|tag| format!("> 1 basic.ack {tag}\n")).collect();
    let publish = "> 1 basic.publish '' q one\n".repeat(20);
    let deliver: String = (1..=20).map(|tag| format!("< 1 basic.deliver c {tag} '' q one\n")).collect();
    check(
        &Limits { transaction_bytes_max: 1024, ..Limits::default() },
        &format!(
            "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 tx.select
        < 1 tx.select-ok
        {publish}> 1 tx.commit
        < 1 tx.commit-ok
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        {deliver}{acks}< 1 channel.close 406 PRECONDITION_FAILED - transaction is larger than 1024 bytes (60,80)
        "
        ),
    );
}

/// Bodies that have begun and transactions that are open count together, whatever channels they are
/// on.
#[test]
fn what_a_connection_does_not_finish() {
    let (much, little) = ("x".repeat(900), "y".repeat(300));
    check(
        &Limits { unfinished_bytes_max: 2_300, ..Limits::default() },
        &format!(
            "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q *5000
        > 2 channel.open
        < 2 channel.open-ok
        > 3 channel.open
        < 3 channel.open-ok
        > 2 method 60 40 0000 00 0161 00
        > 2 content-header 60 100000
        > 2 content-body {much}
        > 3 tx.select
        < 3 tx.select-ok
        > 3 basic.publish '' q *900
        > 3 tx.commit
        < 3 tx.commit-ok
        > 3 basic.publish '' q *900
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 2 0
        > 1 method 60 40 0000 00 0161 00
        > 1 content-header 60 100000
        > 1 content-body {little}
        < 0 connection.close 530 NOT_ALLOWED - reached maximum (2300) of bytes in unfinished bodies and transactions (0,0)
        > 0 connection.close-ok
        b> 1 queue.declare q passive
        b< 1 queue.declare-ok q 2 0
        "
        ),
    );
}

/// What came of a body takes memory for as long as the client likes, unless it has to go on.
#[test]
fn a_body_that_does_not_go_on() {
    check(
        &Limits { body_timeout_s: 20, ..Limits::default() },
        "
        > 1 method 60 40 0000 00 0171 00
        ! wait 15000
        > 1 content-header 60 3
        ! wait 15000
        > 1 content-body x
        > 2 channel.open
        < 2 channel.open-ok
        > 2 method 60 40 0000 00 0171 00
        > 2 content-header 60 2
        > 2 content-body xx
        ! wait 19000
        > 1 content-body xx
        ! wait 30000
        > 1 method 60 40 0000 00 0171 00
        ! wait 10000
        ! wait 9999
        ! open a
        ! wait 1
        < 0 connection.close 530 NOT_ALLOWED - the content on channel 1 did not go on for 20 s (0,0)
        > 0 connection.close-ok
        ",
    );
}

/// The length is enough: nothing is kept until the frame is there.
#[test]
fn frames_of_strangers() {
    check(
        &Limits { handshake_frame_max: 8192, ..Limits::default() },
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> hex 01000000002001
        h< 0 connection.close 501 FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,8193,8184} (0,0)
        ",
    );
}

#[test]
fn strangers_that_take_their_time() {
    let mut world =
        World::new(Pieces::Bytes, limited(Limits { handshake_timeout_s: 3, ..Limits::default() }));
    play(
        &mut world,
        "
        ! accept h
        h> bytes AM
        ! wait 1500
        h> bytes QP
        ! wait 1499
        ! open h
        ! wait 1
        ! closed h
        ",
    );
}

/// As an operator changes them: what is agreed upon with a connection stays, and so does what there
/// is; whatever else is asked for next is held against the new ones.
#[test]
fn limits_that_change() {
    let small = Limits {
        heartbeat_s: 7,
        channel_max: 9,
        frame_max: 8192,
        connections_max: 1,
        channels_max: 2,
        consumers_per_channel_max: 1,
        message_bytes_max: 1024,
        transaction_bytes_max: 1024,
        vhosts_max: 1,
        queues_max: 1,
        exchanges_max: 1,
        bindings_max: 1,
        ..Limits::default()
    };
    let mut world = World::new(Pieces::Whole, limited(Limits::default()));
    let there = "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 1 basic.consume q one
        < 1 basic.consume-ok one
        b> 1 queue.declare q passive
        b< 1 queue.declare-ok q 0 1
        ";
    play(&mut world, there);
    world.broker.set_limits(small);
    let refused = "
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 2 channel.open
        < 0 connection.close 530 NOT_ALLOWED - number of channels opened on node 'leveret' has reached the maximum \
         allowed limit of (2) (0,0)
        > 0 connection.close-ok
        b> 1 queue.declare s
        b< 1 channel.close 406 PRECONDITION_FAILED - cannot declare queue 's': queue limit in cluster (1) is reached (50,10)
        b> 1 channel.close-ok
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN guest guest
        h< 0 connection.tune 9 8192 7
        h> 0 connection.tune-ok 9 8192 0
        h> 0 connection.open /
        h< 0 connection.close 530 NOT_ALLOWED - connection refused: node connection limit (1) is reached (10,40)
        h> 0 connection.close-ok
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 basic.publish '' r *1025
        b< 1 channel.close 406 PRECONDITION_FAILED - message size 1025 is larger than configured max size 1024 (60,40)
        b> 1 channel.close-ok
        ";
    play(&mut world, refused);
    world.broker.set_limits(Limits::default());
    let again = "
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 queue.declare s
        b< 1 queue.declare-ok s 0 0
        b> 1 basic.publish '' s *1025
        c> 1 queue.declare s passive
        c< 1 queue.declare-ok s 1 0
        ";
    play(&mut world, again);
}

/// The time in which a body has to go on may be given up while one is on its way.
#[test]
fn a_body_that_need_not_go_on_any_more() {
    let mut world = World::new(Pieces::Bytes, limited(Limits { body_timeout_s: 20, ..Limits::default() }));
    play(
        &mut world,
        "
        > 1 method 60 40 0000 00 0171 00
        > 1 content-header 60 3
        ! wait 15000
        ",
    );
    world.broker.set_limits(Limits { body_timeout_s: 0, ..Limits::default() });
    play(
        &mut world,
        "
        ! wait 15000
        ! open a
        ",
    );
}

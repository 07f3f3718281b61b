//! Several vhosts: what has the same name in two of them has nothing else in common; what is told
//! to whom when one goes; and how much may be in one, and of one user.

use crate::session::script::{check, check_whole, play};
use crate::session::world::{Pieces, World, limited};
use leveret::config::Limits;

/// `a` is in `/`, `b` in `v`.
const TWO: &str = "
    ! vhost add v
    > 1 basic.get none
    < 1 channel.close 404 NOT_FOUND - no queue 'none' in vhost '/' (60,70)
    > 1 channel.close-ok
    > 1 channel.open
    < 1 channel.open-ok
    ! log in b guest guest v
    ";

/// What client `h` is told that opens this vhost as `guest`.
fn opening(vhost: &str, answer: &str) -> String {
    opening_as("h", "guest guest", vhost, answer)
}

fn opening_as(name: &str, credentials: &str, vhost: &str, answer: &str) -> String {
    format!(
        "
        ! accept {name}
        {name}> header
        {name}< 0 connection.start PLAIN AMQPLAIN en_US
        {name}> 0 connection.start-ok PLAIN {credentials}
        {name}< 0 connection.tune 2047 131072 60
        {name}> 0 connection.tune-ok 2047 131072 0
        {name}> 0 connection.open {vhost}
        {name}< 0 {answer}
        "
    )
}

#[test]
fn names_are_of_one_vhost() {
    check(&format!(
        "{TWO}
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        b> 1 basic.get q
        b< 1 channel.close 404 NOT_FOUND - no queue 'q' in vhost 'v' (60,70)
        b> 1 channel.close-ok
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        b> 1 exchange.declare x fanout
        b< 1 exchange.declare-ok
        b> 1 queue.bind q x k
        b< 1 queue.bind-ok
        > 1 exchange.declare x topic
        < 1 exchange.declare-ok
        b> 1 basic.publish x k of-v
        > 1 basic.publish '' q of-root
        > 1 basic.get q no-ack
        < 1 basic.get-ok 1 '' q 0 of-root
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 1 x k 0 of-v
        b> 1 queue.delete q
        b< 1 queue.delete-ok 0
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 0
        b> 1 queue.declare q passive
        b< 1 channel.close 404 NOT_FOUND - no queue 'q' in vhost 'v' (50,10)
        "
    ));
}

#[test]
fn a_known_route_is_of_one_vhost() {
    check(&format!(
        "{TWO}
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q one
        b> 1 basic.publish '' q nowhere
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        b> 1 basic.publish '' q two
        > 1 basic.publish '' q three
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 2 0
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 1 '' q 0 two
        "
    ));
}

#[test]
fn dead_letters_stay_in_their_vhost() {
    let declared = |who: &str| {
        format!(
            "
            {who}> 1 queue.declare work x-dead-letter-exchange= x-dead-letter-routing-key=dead
            {who}< 1 queue.declare-ok work 0 0
            {who}> 1 queue.declare dead
            {who}< 1 queue.declare-ok dead 0 0
            "
        )
    };
    check(&format!(
        "{TWO}{}{}
        b> 1 basic.publish '' work lost
        b> 1 basic.get work
        b< 1 basic.get-ok 1 '' work 0 lost
        b> 1 basic.reject 1
        > 1 queue.declare dead passive
        < 1 queue.declare-ok dead 0 0
        b> 1 queue.declare dead passive
        b< 1 queue.declare-ok dead 1 0
        ",
        declared("a"),
        declared("b")
    ));
}

#[test]
fn unroutable_messages_stay_in_their_vhost() {
    check(&format!(
        "{TWO}
        > 1 exchange.declare other fanout
        < 1 exchange.declare-ok
        > 1 queue.declare unrouted
        < 1 queue.declare-ok unrouted 0 0
        > 1 queue.bind unrouted other k
        < 1 queue.bind-ok
        b> 1 exchange.declare x direct alternate-exchange=other
        b< 1 exchange.declare-ok
        b> 1 basic.publish x k nowhere
        > 1 queue.declare unrouted passive
        < 1 queue.declare-ok unrouted 0 0
        "
    ));
}

#[test]
fn a_reply_queue_is_known_in_its_vhost() {
    check_whole(&format!(
        "{TWO}
        > 1 queue.declare rpc
        < 1 queue.declare-ok rpc 0 0
        > 1 basic.consume amq.rabbitmq.reply-to t no-ack
        < 1 basic.consume-ok t
        > 1 basic.publish '' rpc ask reply-to=amq.rabbitmq.reply-to
        > 1 basic.get rpc no-ack
        < 1 basic.get-ok 1 '' rpc 0 reply-to=$1 ask
        b> 1 queue.declare $1 passive
        b< 1 channel.close 404 NOT_FOUND - no queue '$1' in vhost 'v' (50,10)
        b> 1 channel.close-ok
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 basic.publish '' $1 wrong
        > 1 basic.publish '' $1 right
        < 1 basic.deliver t 2 '' $1 right
        "
    ));
}

#[test]
fn a_permission_is_for_one_vhost() {
    check(&format!(
        "{TWO}
        ! user add bob secret
        ! user may-in v bob .* '' ''
        {}
        ! log in c bob secret v
        c> 1 queue.declare q
        c< 1 queue.declare-ok q 0 0
        c> 1 basic.publish '' q x
        c< 1 channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost 'v' refused for user 'bob' (60,40)
        ! user may bob .* .* .*
        c> 1 channel.close-ok
        c> 1 channel.open
        c< 1 channel.open-ok
        c> 1 basic.get q
        c< 1 channel.close 403 ACCESS_REFUSED - read access to queue 'q' in vhost 'v' refused for user 'bob' (60,70)
        ",
        opening_as("h", "bob secret", "/", "connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'bob' (10,40)")
    ));
}

#[test]
fn a_vhost_has_to_be_there() {
    check(&opening("v", "connection.close 530 NOT_ALLOWED - vhost v not found (10,40)"));
    check(&format!(
        "! vhost add v\n! vhost delete v\n{}",
        opening("v", "connection.close 530 NOT_ALLOWED - vhost v not found (10,40)")
    ));
    check(&format!(
        "! vhost delete /\n{}",
        opening("/", "connection.close 530 NOT_ALLOWED - vhost / not found (10,40)")
    ));
}

#[test]
fn who_is_in_a_deleted_vhost_is_told() {
    check(&format!(
        "{TWO}
        ! log in c guest guest v
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        b> 1 queue.declare q durable
        b< 1 queue.declare-ok q 0 0
        b> 1 basic.consume q t
        b< 1 basic.consume-ok t
        c> 1 basic.publish '' q held
        b< 1 basic.deliver t 1 '' q held
        ! vhost delete v
        b< 0 connection.close 320 CONNECTION_FORCED - vhost 'v' is deleted (0,0)
        c< 0 connection.close 320 CONNECTION_FORCED - vhost 'v' is deleted (0,0)
        c> 0 connection.close-ok
        ! closed c
        ! open a
        ! vhost add v
        ! log in d guest guest v
        d> 1 queue.declare q passive
        d< 1 channel.close 404 NOT_FOUND - no queue 'q' in vhost 'v' (50,10)
        b> 0 connection.close-ok
        ! closed b
        > 1 basic.publish '' q here
        > 1 basic.get q no-ack
        < 1 basic.get-ok 1 '' q 0 here
        "
    ));
}

#[test]
fn permissions_go_with_their_vhost() {
    let refused = "connection.close 530 NOT_ALLOWED - access to vhost 'v' refused for user 'bob' (10,40)";
    check(&format!(
        "
        ! vhost add v
        ! user add bob secret
        ! user may-in v bob .* .* .*
        ! vhost delete v
        ! vhost add v
        {}
        ",
        opening_as("h", "bob secret", "v", refused)
    ));
}

#[test]
fn connections_of_a_vhost() {
    let full = "connection.close 530 NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (1) is reached (10,40)";
    check(&format!(
        "
        ! vhost add v
        ! vhost limits v 1 -
        ! log in b guest guest v
        {}
        ! log in c guest guest
        ! lost b
        {}
        ! lost h
        ! vhost limits v 0 -
        {}
        ! vhost limits v - -
        {}
        ",
        opening("v", full),
        opening("v", "connection.open-ok"),
        opening("v", &full.replace("(1)", "(0)")),
        opening("v", "connection.open-ok"),
    ));
}

#[test]
fn connections_of_a_user() {
    let full = "connection.close 530 NOT_ALLOWED - connection refused for user 'bob': user connection limit (1) is reached (10,40)";
    check(&format!(
        "
        ! vhost add v
        ! user add bob secret
        ! user may bob .* .* .*
        ! user may-in v bob .* .* .*
        ! user limits bob 1 -
        ! log in b bob secret
        {}
        ! lost b
        {}
        {}
        ",
        opening_as("h", "bob secret", "v", full),
        opening_as("h", "bob secret", "v", "connection.open-ok"),
        opening_as("c", "bob secret", "/", full),
    ));
}

#[test]
fn the_vhost_is_looked_at_before_its_places_and_these_before_the_users() {
    check(&format!(
        "
        ! user limits guest 0 -
        ! vhost add v
        {}
        {}
        ! vhost limits v 0 -
        {}
        ",
        opening("w", "connection.close 530 NOT_ALLOWED - vhost w not found (10,40)"),
        opening(
            "v",
            "connection.close 530 NOT_ALLOWED - connection refused for user 'guest': user connection limit (0) is reached (10,40)"
        ),
        opening(
            "v",
            "connection.close 530 NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (0) is reached (10,40)"
        ),
    ));
}

#[test]
fn who_is_refused_takes_no_place() {
    let refused = "connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'bob' (10,40)";
    check(&format!(
        "
        ! user add bob secret
        ! user limits bob 1 -
        ! vhost limits / 1 -
        {}
        ! user may bob .* .* .*
        {}
        ",
        opening_as("h", "bob secret", "/", refused),
        opening_as("c", "bob secret", "/", "connection.open-ok"),
    ));
}

#[test]
fn channels_of_a_user() {
    check(
        "
        ! user limits guest - 2
        > 2 channel.open
        < 2 channel.open-ok
        > 2 channel.close
        < 2 channel.close-ok
        > 3 channel.open
        < 3 channel.open-ok
        > 4 channel.open
        < 0 connection.close 530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 2 (0,0)
        ! user limits guest - 1
        b> 2 channel.open
        b< 0 connection.close 530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 1 (0,0)
        ! user limits guest - -
        c> 2 channel.open
        c< 2 channel.open-ok
        ",
    );
}

#[test]
fn queues_of_a_vhost() {
    let full = |name: &str| {
        format!(
            "1 channel.close 406 PRECONDITION_FAILED - cannot declare queue '{name}': queue limit in vhost 'v' (1) is reached (50,10)"
        )
    };
    check(&format!(
        "{TWO}
        ! vhost limits v - 1
        b> 1 basic.consume amq.rabbitmq.reply-to t no-ack
        b< 1 basic.consume-ok t
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        b> 1 queue.declare r
        b< {}
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        b> 1 channel.close-ok
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 queue.delete q
        b< 1 queue.delete-ok 0
        b> 1 queue.declare r
        b< 1 queue.declare-ok r 0 0
        ",
        full("r")
    ));
}

#[test]
fn the_limits_of_all_vhosts_hold_for_them_together() {
    let settings = limited(Limits { queues_max: 2, ..Limits::default() });
    let mut world = World::new(Pieces::Whole, settings);
    play(
        &mut world,
        &format!(
            "{TWO}
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            b> 1 queue.declare q
            b< 1 queue.declare-ok q 0 0
            b> 1 queue.declare r
            b< 1 channel.close 406 PRECONDITION_FAILED - cannot declare queue 'r': queue limit in cluster (2) is reached (50,10)
            ! vhost delete v
            b< 0 connection.close 320 CONNECTION_FORCED - vhost 'v' is deleted (0,0)
            > 1 queue.declare r
            < 1 queue.declare-ok r 0 0
            "
        ),
    );
}

#[test]
fn a_vhost_says_of_what_type_a_queue_is() {
    let differs = |received: &str, current: &str, name: &str| {
        format!(
            "b< 1 channel.close 406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{name}' in vhost 'v': received '{received}' but current is '{current}' (50,10)
            b> 1 channel.close-ok
            b> 1 channel.open
            b< 1 channel.open-ok"
        )
    };
    check(&format!(
        "{TWO}
        ! vhost queue-type v quorum
        b> 1 queue.declare q durable
        b< 1 queue.declare-ok q 0 0
        b> 1 queue.declare q durable
        b< 1 queue.declare-ok q 0 0
        b> 1 queue.declare q durable x-queue-type=quorum
        b< 1 queue.declare-ok q 0 0
        b> 1 queue.declare q durable x-queue-type=classic
        {}
        b> 1 queue.declare c durable x-queue-type=classic
        b< 1 queue.declare-ok c 0 0
        b> 1 queue.declare c durable
        {}
        b> 1 queue.declare e exclusive
        b< 1 queue.declare-ok e 0 0
        b> 1 queue.declare t
        b< 1 queue.declare-ok t 0 0
        b> 1 queue.declare d durable auto-delete
        b< 1 queue.declare-ok d 0 0
        b> 1 queue.declare d durable auto-delete x-queue-type=classic
        b< 1 queue.declare-ok d 0 0
        b> 1 queue.declare '' durable
        b< 1 channel.close 406 PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue (50,10)
        b> 1 channel.close-ok
        b> 1 channel.open
        b< 1 channel.open-ok
        ! vhost queue-type v stream
        b> 1 queue.declare q durable
        {}
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare q durable x-queue-type=classic
        < 1 queue.declare-ok q 0 0
        ",
        differs("classic", "quorum", "q"),
        differs("quorum", "classic", "c"),
        differs("stream", "quorum", "q"),
    ));
}

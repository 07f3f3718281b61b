//! Exchanges, queues and bindings as clients see them.

use crate::session::script::{check, check_whole};

#[test]
fn exchanges_are_declared_bound_and_deleted() {
    check(
        "
        > 1 exchange.declare x direct durable
        < 1 exchange.declare-ok
        > 1 exchange.declare x direct durable nowait
        > 1 exchange.declare x '' passive
        < 1 exchange.declare-ok
        > 1 exchange.declare y fanout auto-delete
        < 1 exchange.declare-ok
        > 1 exchange.bind y x key
        < 1 exchange.bind-ok
        > 1 exchange.bind y x other nowait
        > 1 exchange.unbind y x other
        < 1 exchange.unbind-ok
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.bind q y ''
        < 1 queue.bind-ok
        > 1 basic.publish x key hello
        > 1 basic.publish x other lost
        > 1 basic.get q no-ack
        < 1 basic.get-ok 1 x key 0 hello
        > 1 exchange.delete x
        < 1 exchange.delete-ok
        > 1 exchange.delete x
        < 1 exchange.delete-ok
        > 1 exchange.delete y nowait
        > 1 basic.publish y '' lost
        < 1 channel.close 404 NOT_FOUND - no exchange 'y' in vhost '/' (60,40)
        ",
    );
}

#[test]
fn queues_are_declared_bound_purged_and_deleted() {
    check(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare q durable nowait
        > 1 queue.bind '' amq.direct ''
        < 1 queue.bind-ok
        > 1 queue.bind q amq.direct second nowait
        > 1 basic.publish amq.direct q one
        > 1 basic.publish amq.direct second two
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 2 0
        > 1 queue.unbind q amq.direct second
        < 1 queue.unbind-ok
        > 1 queue.unbind q amq.direct second
        < 1 queue.unbind-ok
        > 1 queue.unbind missing amq.direct second
        < 1 queue.unbind-ok
        > 1 basic.publish amq.direct second lost
        > 1 queue.purge ''
        < 1 queue.purge-ok 2
        > 1 queue.purge q nowait
        > 1 basic.publish '' q three
        > 1 queue.delete ''
        < 1 queue.delete-ok 1
        > 1 queue.delete q
        < 1 queue.delete-ok 0
        > 1 queue.declare q nowait
        > 1 queue.delete q nowait
        > 1 queue.bind q amq.direct k
        < 1 channel.close 404 NOT_FOUND - no queue 'q' in vhost '/' (50,20)
        ",
    );
}

#[test]
fn faults_that_end_the_channel() {
    for (said, refusal) in [
        ("1 queue.purge ''", "404 NOT_FOUND - no previously declared queue (50,30)"),
        (
            "1 queue.declare amq.mine",
            "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*' (50,10)",
        ),
        (
            "1 exchange.declare amq.mine direct",
            "403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*' (40,10)",
        ),
        ("1 exchange.declare x strange", "406 PRECONDITION_FAILED - unknown exchange type 'strange' (40,10)"),
        ("1 exchange.declare x '' passive", "404 NOT_FOUND - no exchange 'x' in vhost '/' (40,10)"),
        ("1 exchange.bind x y k", "404 NOT_FOUND - no exchange 'y' in vhost '/' (40,30)"),
        (
            "1 exchange.delete ''",
            "403 ACCESS_REFUSED - operation not permitted on the default exchange (40,20)",
        ),
        (
            "1 exchange.delete amq.direct",
            "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed (40,20)",
        ),
        ("1 basic.publish missing k x", "404 NOT_FOUND - no exchange 'missing' in vhost '/' (60,40)"),
        ("1 basic.get missing", "404 NOT_FOUND - no queue 'missing' in vhost '/' (60,70)"),
        ("1 basic.consume missing t", "404 NOT_FOUND - no queue 'missing' in vhost '/' (60,20)"),
    ] {
        check(&format!(
            "
            > {said}
            < 1 channel.close {refusal}
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            "
        ));
    }
}

#[test]
fn a_redeclare_has_to_be_the_same() {
    check(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare q
        < 1 channel.close 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true' (50,10)
        b> 1 basic.publish '' q x
        b> 1 queue.delete q if-empty
        b< 1 channel.close 406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty (50,40)
        ",
    );
}

#[test]
fn durable_things_are_answered_when_they_are_on_disk() {
    check(
        "
        > 1 queue.declare transient
        < 1 queue.declare-ok transient 0 0
        > 1 basic.consume transient c no-ack
        < 1 basic.consume-ok c
        ! hold
        > 1 queue.declare q durable
        > 1 basic.publish '' transient hello
        ! reads a
        > 1 queue.declare transient passive
        > 2 channel.open
        < 2 channel.open-ok
        > 2 queue.declare transient passive
        < 2 queue.declare-ok transient 0 1
        ! sync
        < 1 queue.declare-ok q 0 0
        < 1 basic.deliver c 1 '' transient hello
        < 1 queue.declare-ok transient 0 1
        > 1 queue.delete q
        > 1 channel.close
        > 2 queue.declare transient passive
        < 2 queue.declare-ok transient 0 0
        ! sync
        < 1 queue.delete-ok 0
        < 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        ",
    );
}

#[test]
fn nothing_overtakes_what_waits_for_the_disk() {
    check_whole(
        "
        > 1 queue.declare transient
        < 1 queue.declare-ok transient 0 0
        > 1 queue.declare gone
        < 1 queue.declare-ok gone 0 0
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.consume transient c no-ack
        < 1 basic.consume-ok c
        > 1 basic.consume gone g
        < 1 basic.consume-ok g
        ! hold
        > 1 queue.declare q durable
        > 1 basic.publish '' nowhere x mandatory
        > 1 basic.publish '' transient hello
        ! wait 1
        > 1 basic.get q
        > 2 channel.open
        < 2 channel.open-ok
        > 2 queue.delete gone
        < 2 queue.delete-ok 0
        ! wait 1
        ! sync
        < 1 queue.declare-ok q 0 0
        < 1 basic.return 312 NO_ROUTE '' nowhere x
        < 1 basic.ack 2 multiple
        < 1 basic.deliver c 1 '' transient hello
        < 1 basic.get-empty
        < 1 basic.cancel g
        ",
    );
}

#[test]
fn a_channel_that_fails_says_what_it_held_first() {
    check(
        "
        ! hold
        > 1 queue.declare q durable
        > 1 queue.declare missing passive
        ! sync
        < 1 queue.declare-ok q 0 0
        < 1 channel.close 404 NOT_FOUND - no queue 'missing' in vhost '/' (50,10)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        ",
    );
}

//! Publishes that a full queue refuses.

use crate::session::script::{check, check_whole};

/// `q` takes one message, `r` any number.
const QUEUES: &str = "
    > 1 queue.declare q durable x-max-length=1 x-overflow=reject-publish
    < 1 queue.declare-ok q 0 0
    > 1 queue.declare r durable
    < 1 queue.declare-ok r 0 0
    > 1 queue.bind q amq.fanout k
    < 1 queue.bind-ok
    > 1 queue.bind r amq.fanout k
    < 1 queue.bind-ok
    ";

#[test]
fn each_publish_gets_its_own_verdict() {
    check(&format!(
        "{QUEUES}
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' q one
        < 1 basic.ack 1
        > 1 basic.publish '' q two mandatory
        < 1 basic.nack 2
        > 1 basic.publish '' r three
        < 1 basic.ack 3
        > 1 basic.publish '' q four
        < 1 basic.nack 4
        > 1 queue.purge q
        < 1 queue.purge-ok 1
        > 1 basic.publish '' q five
        < 1 basic.ack 5
        "
    ));
}

#[test]
fn what_one_read_brings_is_answered_in_order() {
    check_whole(&format!(
        "{QUEUES}
        > 2 channel.open
        < 2 channel.open-ok
        > 1 confirm.select
        < 1 confirm.select-ok
        > 2 confirm.select
        < 2 confirm.select-ok
        > 1 basic.publish '' r one
        > 1 basic.publish '' q two
        > 2 basic.publish '' q x
        > 1 basic.publish '' q three
        > 1 basic.publish '' q four
        > 2 basic.publish '' r y
        > 1 basic.publish '' r five
        > 2 basic.publish '' q z
        < 1 basic.ack 2 multiple
        < 1 basic.nack 4 multiple
        < 1 basic.ack 5
        < 2 basic.nack 1
        < 2 basic.ack 2
        < 2 basic.nack 3
        "
    ));
}

#[test]
fn a_refusal_overtakes_what_waits_for_the_disk() {
    check_whole(&format!(
        "{QUEUES}
        > 1 confirm.select
        < 1 confirm.select-ok
        ! hold
        > 1 basic.publish '' r one persistent
        > 1 basic.publish '' q two persistent
        > 1 basic.publish '' q three persistent
        > 1 basic.publish '' r four persistent
        < 1 basic.nack 3
        > 1 basic.publish '' q five
        < 1 basic.nack 5
        ! sync
        < 1 basic.ack 2 multiple
        < 1 basic.ack 4
        "
    ));
}

#[test]
fn who_refuses_speaks_for_all_queues_and_the_others_keep_it() {
    check(&format!(
        "{QUEUES}
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish amq.fanout k one
        < 1 basic.ack 1
        > 1 basic.publish amq.fanout k two
        < 1 basic.nack 2
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        > 1 queue.declare r passive
        < 1 queue.declare-ok r 2 0
        "
    ));
}

#[test]
fn large_messages_are_refused_too() {
    check(&format!(
        "{QUEUES}
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' q *100000
        < 1 basic.ack 1
        > 1 basic.publish '' q *100000
        < 1 basic.nack 2
        "
    ));
}

#[test]
fn without_confirms_nobody_is_told() {
    check(&format!(
        "{QUEUES}
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        "
    ));
}

/// On a channel that confirms and on one that does not, into the same block.
#[test]
fn only_who_asked_is_told() {
    check_whole(&format!(
        "{QUEUES}
        > 2 channel.open
        < 2 channel.open-ok
        > 2 confirm.select
        < 2 confirm.select-ok
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 2 basic.publish '' q three
        > 1 basic.publish '' q four
        > 1 basic.publish '' q five
        > 2 basic.publish '' q six
        < 2 basic.nack 2 multiple
        "
    ));
}

#[test]
fn a_verdict_is_told_before_the_channel_closes() {
    check_whole(&format!(
        "{QUEUES}
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 channel.close
        < 1 basic.ack 1
        < 1 basic.nack 2
        < 1 channel.close-ok
        "
    ));
}

#[test]
fn a_transaction_that_is_refused_in_part_says_so() {
    check(&format!(
        "{QUEUES}
        > 1 tx.select
        < 1 tx.select-ok
        > 1 basic.publish '' q one
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 basic.publish '' q two
        > 1 tx.commit
        < 1 channel.close 406 PRECONDITION_FAILED - partial tx completion (90,20)
        > 1 channel.close-ok
        "
    ));
}

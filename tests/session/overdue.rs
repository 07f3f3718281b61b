//! Deliveries that are not acknowledged in time.

use crate::session::script::check;

#[test]
fn a_consumer_that_is_late_is_cancelled() {
    check(
        "
        > 1 queue.declare q x-consumer-timeout=1000
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 basic.publish '' q one
        < 1 basic.deliver c 1 '' q one
        ! wait 600
        > 1 basic.publish '' q two
        < 1 basic.deliver c 2 '' q two
        > 1 basic.publish '' q three
        < 1 basic.deliver c 3 '' q three
        > 1 basic.ack 2
        ! wait 399
        ! wait 1
        < 1 basic.cancel c
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 4 redelivered '' q one
        > 1 basic.ack 1
        > 1 basic.ack 4
        ! wait 600
        < 1 basic.deliver c 5 redelivered '' q three
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 1
        > 1 basic.ack 5 multiple
        ! wait 5000
        > 1 basic.ack 3
        < 1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 3 (60,80)
        > 1 channel.close-ok
        ",
    );
}

#[test]
fn an_argument_of_the_consumer_counts_instead() {
    check(
        "
        > 1 queue.declare q durable x-queue-type=quorum x-consumer-timeout=10 x-delivery-limit=0
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c x-consumer-timeout=50
        < 1 basic.consume-ok c
        > 1 basic.publish '' q one
        < 1 basic.deliver c 1 '' q one
        ! wait 49
        ! wait 1
        < 1 basic.cancel c
        > 1 basic.consume q none no-ack
        < 1 basic.consume-ok none
        < 1 basic.deliver none 2 redelivered '' q x-acquired-count=1 one
        ! wait 1000000
        > 1 basic.ack 1
        ",
    );
}

#[test]
fn where_there_is_no_consumer_to_cancel_the_channel_closes() {
    check(
        "
        > 1 queue.declare q x-consumer-timeout=300
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q one
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 0 one
        > 2 channel.open
        < 2 channel.open-ok
        ! wait 300
        < 1 channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 300 ms. This timeout value can be configured, see consumers doc guide to learn more (0,0)
        > 1 channel.close-ok
        > 2 basic.get q no-ack
        < 2 basic.get-ok 1 redelivered '' q 0 one
        ",
    );
}

#[test]
fn a_rollback_does_not_stop_the_clock() {
    check(
        "
        > 1 queue.declare q x-consumer-timeout=100
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 tx.select
        < 1 tx.select-ok
        b> 1 basic.publish '' q one
        < 1 basic.deliver c 1 '' q one
        > 1 basic.ack 1
        ! wait 150
        > 1 tx.rollback
        < 1 tx.rollback-ok
        ! wait 1
        < 1 basic.cancel c
        ",
    );
}

#[test]
fn no_patience_at_all_takes_it_back_at_once() {
    check(
        "
        > 1 queue.declare q x-consumer-timeout=0
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 basic.publish '' q one
        < 1 basic.deliver c 1 '' q one
        ! wait 0
        < 1 basic.cancel c
        ",
    );
}

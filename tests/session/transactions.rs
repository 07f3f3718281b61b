//! Transactions.

use crate::session::script::check;

#[test]
fn publishes_take_effect_with_the_commit() {
    check(
        "
        > 1 tx.select
        < 1 tx.select-ok
        > 1 tx.select
        < 1 tx.select-ok
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 1 basic.publish '' q one persistent
        > 1 basic.publish '' nowhere back mandatory
        > 1 basic.publish '' r two
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 0
        ! hold
        > 1 tx.commit
        < 1 basic.return 312 NO_ROUTE '' nowhere back
        ! sync
        < 1 tx.commit-ok
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        > 1 queue.declare r passive
        < 1 queue.declare-ok r 1 0
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 basic.publish '' q lost
        > 1 tx.rollback
        < 1 tx.rollback-ok
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        ",
    );
}

#[test]
fn acknowledgements_take_effect_with_the_commit() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 basic.publish '' q three
        > 1 tx.select
        < 1 tx.select-ok
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 2 one
        > 1 basic.get q
        < 1 basic.get-ok 2 '' q 1 two
        > 1 basic.get q
        < 1 basic.get-ok 3 '' q 0 three
        > 1 basic.ack 2 multiple
        > 1 tx.rollback
        < 1 tx.rollback-ok
        > 1 basic.ack 1
        > 1 basic.nack 2 requeue
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 0
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        > 1 basic.ack 3
        > 1 channel.close
        < 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 basic.get q
        < 1 basic.get-ok 1 redelivered '' q 1 x-delivery-count=1 two
        > 1 basic.get q
        < 1 basic.get-ok 2 redelivered '' q 0 x-delivery-count=1 three
        ",
    );
}

#[test]
fn a_commit_of_acknowledgements_alone_waits_for_the_disk() {
    let dead_letters = "x-dead-letter-exchange=amq.fanout";
    for (settle, arguments) in [
        ("basic.ack 1", ""),
        ("basic.nack 1", ""),
        ("basic.reject 1", ""),
        ("basic.reject 1 requeue", ""),
        ("basic.ack 0 multiple", ""),
        // To a queue, and to nowhere.
        ("basic.reject 1", dead_letters),
        ("basic.nack 0 multiple", "x-dead-letter-exchange=amq.direct"),
    ] {
        check(&format!(
            "
            > 1 queue.declare dead durable
            < 1 queue.declare-ok dead 0 0
            > 1 queue.bind dead amq.fanout ''
            < 1 queue.bind-ok
            > 1 queue.declare q durable {arguments}
            < 1 queue.declare-ok q 0 0
            > 1 basic.publish '' q one persistent
            > 1 tx.select
            < 1 tx.select-ok
            > 1 basic.get q
            < 1 basic.get-ok 1 '' q 0 persistent one
            ! hold
            > 1 {settle}
            > 1 tx.commit
            > 1 tx.rollback
            ! sync
            < 1 tx.commit-ok
            < 1 tx.rollback-ok
            > 1 tx.commit
            < 1 tx.commit-ok
            "
        ));
    }
}

#[test]
fn a_channel_confirms_or_is_transactional_or_neither() {
    for (said, refusal) in [
        (
            "> 1 tx.select\n< 1 tx.select-ok\n> 1 confirm.select",
            "cannot switch from tx to confirm mode (85,10)",
        ),
        (
            "> 1 confirm.select\n< 1 confirm.select-ok\n> 1 tx.select",
            "cannot switch from confirm to tx mode (90,10)",
        ),
        ("> 1 tx.commit", "channel is not transactional (90,20)"),
        ("> 1 tx.rollback", "channel is not transactional (90,30)"),
    ] {
        check(&format!("{said}\n< 1 channel.close 406 PRECONDITION_FAILED - {refusal}"));
    }
}

/// `q` takes one message, `r` any number; on channel 1 a transaction, on channel 2 none.
const QUEUES: &str = "
    > 1 queue.declare q durable x-max-length=1 x-overflow=reject-publish
    < 1 queue.declare-ok q 0 0
    > 1 queue.declare r durable
    < 1 queue.declare-ok r 0 0
    > 2 channel.open
    < 2 channel.open-ok
    > 1 tx.select
    < 1 tx.select-ok
    ";

#[test]
fn a_commit_of_which_a_full_queue_refuses_a_part_does_nothing() {
    check(&format!(
        "{QUEUES}
        > 2 basic.publish '' r job
        > 1 basic.get r
        < 1 basic.get-ok 1 '' r 0 job
        > 1 basic.publish '' r first
        > 1 basic.publish '' q second
        > 1 basic.publish '' nowhere back mandatory
        > 1 basic.publish '' q third
        > 1 basic.publish '' r fourth
        > 1 basic.ack 1
        > 1 tx.commit
        < 1 channel.close 406 PRECONDITION_FAILED - partial tx completion (90,20)
        > 1 channel.close-ok
        > 2 queue.declare q passive
        < 2 queue.declare-ok q 0 0
        > 2 basic.get r
        < 2 basic.get-ok 1 redelivered '' r 0 x-delivery-count=1 job
        > 2 basic.publish '' q room
        > 2 queue.declare q passive
        < 2 queue.declare-ok q 1 0
        "
    ));
}

#[test]
fn an_acknowledgement_in_the_transaction_makes_no_room() {
    check(&format!(
        "{QUEUES}
        > 1 basic.publish '' q one
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 0 one
        > 1 basic.publish '' q two
        > 1 basic.ack 1
        > 1 tx.commit
        < 1 tx.commit-ok
        > 1 basic.get q
        < 1 basic.get-ok 2 '' q 0 two
        > 2 basic.publish '' q other
        > 1 basic.publish '' q three
        > 1 basic.ack 2
        > 1 tx.commit
        < 1 channel.close 406 PRECONDITION_FAILED - partial tx completion (90,20)
        > 1 channel.close-ok
        > 2 queue.declare q passive
        < 2 queue.declare-ok q 2 0
        "
    ));
}

#[test]
fn a_consumer_who_waits_makes_room_for_a_commit() {
    check(&format!(
        "{QUEUES}
        > 2 basic.consume q c no-ack
        < 2 basic.consume-ok c
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 basic.publish '' q three
        > 1 tx.commit
        < 1 tx.commit-ok
        < 2 basic.deliver c 1 '' q one
        < 2 basic.deliver c 2 '' q two
        < 2 basic.deliver c 3 '' q three
        "
    ));
}

#[test]
fn what_is_refused_with_its_transaction_is_not_dead_lettered() {
    check(
        "
        > 1 queue.declare q x-max-length=1 x-overflow=reject-publish-dlx x-dead-letter-exchange=amq.fanout
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare dead
        < 1 queue.declare-ok dead 0 0
        > 1 queue.bind dead amq.fanout
        < 1 queue.bind-ok
        > 1 tx.select
        < 1 tx.select-ok
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 tx.commit
        < 1 channel.close 406 PRECONDITION_FAILED - partial tx completion (90,20)
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.declare dead passive
        < 1 queue.declare-ok dead 0 0
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 0
        ",
    );
}

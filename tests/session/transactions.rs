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

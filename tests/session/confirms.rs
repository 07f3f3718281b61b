//! Publisher confirms and returns.

use crate::session::script::{check, check_whole};

#[test]
fn what_needs_no_disk_is_confirmed_at_once() {
    check(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 confirm.select nowait
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        > 1 basic.publish '' q transient
        < 1 basic.ack 1
        > 1 basic.publish '' nowhere x
        < 1 basic.ack 2
        > 1 basic.publish '' nowhere x mandatory
        < 1 basic.return 312 NO_ROUTE '' nowhere x
        < 1 basic.ack 3
        ",
    );
}

#[test]
fn what_is_on_disk_is_confirmed_together() {
    check_whole(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        > 1 basic.publish '' q one persistent
        > 1 basic.publish '' q two persistent
        > 1 basic.publish '' nowhere three mandatory
        < 1 basic.return 312 NO_ROUTE '' nowhere three
        > 1 basic.publish '' q four
        ! sync
        < 1 basic.ack 4 multiple
        > 1 basic.publish '' q five persistent
        ! sync
        < 1 basic.ack 5
        > 1 basic.publish '' q six
        > 1 basic.publish '' q seven
        < 1 basic.ack 7 multiple
        ",
    );
}

#[test]
fn each_channel_counts_for_itself() {
    check(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 2 channel.open
        < 2 channel.open-ok
        > 2 confirm.select
        < 2 confirm.select-ok
        > 3 channel.open
        < 3 channel.open-ok
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        > 1 basic.publish '' q one persistent
        ! reads a
        > 2 basic.publish '' q two
        < 2 basic.ack 1
        > 3 basic.publish '' q three persistent
        ! sync
        < 1 basic.ack 1
        ",
    );
}

#[test]
fn what_can_be_confirmed_is_before_the_channel_closes() {
    check_whole(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' nowhere x
        > 1 channel.close
        < 1 basic.ack 1
        < 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' nowhere x
        > 1 basic.publish missing k x
        < 1 basic.ack 1
        < 1 channel.close 404 NOT_FOUND - no exchange 'missing' in vhost '/' (60,40)
        ",
    );
}

#[test]
fn confirms_stay_behind_replies_that_wait() {
    check(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        ! hold
        > 1 queue.declare q durable
        > 1 basic.publish '' q x
        ! sync
        < 1 queue.declare-ok q 0 0
        < 1 basic.ack 1
        ",
    );
}

#[test]
fn nothing_is_confirmed_after_the_store_failed() {
    check(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        > 1 basic.publish '' q x persistent
        ! disk failed
        > 1 basic.publish '' nowhere x
        < 0 connection.blocked the store has failed
        < 0 connection.close 541 INTERNAL_ERROR - the store has failed, nothing more can be kept (0,0)
        ! sync
        ",
    );
}

/// What it published before the disk was full waits for room, too.
#[test]
fn whoever_waits_for_a_confirm_is_told_that_the_disk_is_full() {
    check(
        "
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        b> 1 basic.consume q c
        b< 1 basic.consume-ok c
        ! hold
        > 1 basic.publish '' q x persistent
        b< 1 basic.deliver c 1 '' q persistent x
        ! disk full
        ! wake b
        ! reads b
        ! wake a
        < 0 connection.blocked low on disk
        ! ignores a
        ! sync
        < 1 basic.ack 1
        ! ignores a
        ! disk good
        ! wake a
        < 0 connection.unblocked
        ! reads a
        ",
    );
}

#[test]
fn publishers_wait_while_the_disk_is_full() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        ! disk full
        b> 1 basic.consume q c
        b< 1 basic.consume-ok c
        > 1 basic.publish '' q one
        < 0 connection.blocked low on disk
        b< 1 basic.deliver c 1 '' q one
        ! ignores a
        ! reads b
        b> 1 basic.ack 1
        ! wake a
        ! ignores a
        ! disk good
        ! wake a
        < 0 connection.unblocked
        ! reads a
        > 1 basic.publish '' q two
        b< 1 basic.deliver c 2 '' q two
        ",
    );
}

#[test]
fn publishers_go_on_if_the_log_catches_up_while_they_look() {
    let publish = "> 1 basic.publish '' q *1000000 persistent\n".repeat(9);
    check_whole(&format!(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        ! sync when asked
        {publish}
        ! reads a
        "
    ));
}

#[test]
fn publishers_wait_while_many_small_changes_are_behind() {
    // By turns for one queue and for two, so that each message is a change of its own.
    let publish = "> 1 basic.publish '' q x persistent\n> 1 basic.publish amq.fanout '' x persistent\n";
    let some = publish.repeat(9);
    let publish = publish.repeat(16 * 1024 / 3);
    check_whole(&format!(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare r durable
        < 1 queue.declare-ok r 0 0
        > 1 queue.bind q amq.fanout ''
        < 1 queue.bind-ok
        > 1 queue.bind r amq.fanout ''
        < 1 queue.bind-ok
        ! hold
        {publish}
        ! reads a
        {some}
        ! ignores a
        ! sync
        ! reads a
        "
    ));
}

#[test]
fn who_binds_waits_while_the_log_is_behind() {
    let value = "x".repeat(16_000);
    let bind = |at: usize| format!("> 1 queue.bind q amq.headers k x-note={value}{at} nowait\n");
    let binds: String = (0..300).map(bind).collect();
    check_whole(&format!(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        {}
        ! reads a
        {binds}
        ! ignores a
        ! sync
        ! reads a
        ",
        bind(1000),
    ));
}

/// What was sent before the disk was full waits for room, and only who consumes makes some.
#[test]
fn who_declares_is_read_while_the_disk_is_full() {
    let publish = "> 1 basic.publish '' q *1000000 persistent\n".repeat(9);
    check_whole(&format!(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        {publish}
        b> 1 queue.bind q amq.fanout '' nowait
        ! ignores b
        ! disk full
        ! wake b
        ! reads b
        b> 1 queue.bind q amq.direct '' nowait
        ! reads b
        "
    ));
}

/// But for those who bring little.
#[test]
fn publishers_wait_while_the_log_is_behind() {
    let publish = "> 1 basic.publish '' q *1000000 persistent\n".repeat(9);
    check_whole(&format!(
        "
        > 1 queue.declare q durable
        < 1 queue.declare-ok q 0 0
        ! hold
        {publish}
        ! ignores a
        b> 1 basic.publish '' q x persistent
        ! reads b
        b> 1 basic.publish '' q *20000 persistent
        ! ignores b
        ! sync
        ! reads a
        "
    ));
}

//! The window that all consumers of a channel share: `basic.qos` with `global`.

use crate::session::script::check;

/// Queues of these names with the messages NAME1, NAME2, ...
fn filled(queues: &str, count: usize) -> String {
    let mut script = String::new();
    for queue in queues.split(' ') {
        script.push_str(&format!("> 1 queue.declare {queue}\n< 1 queue.declare-ok {queue} 0 0\n"));
        for number in 1..=count {
            script.push_str(&format!("> 1 basic.publish '' {queue} {queue}{number}\n"));
        }
    }
    script
}

/// `a` holds a message of `q`, all that the channel may: every other consumer waits for room.
const HELD: &str = "
        > 1 basic.qos 1 global
        < 1 basic.qos-ok
        > 1 basic.consume q a
        < 1 basic.consume-ok a
        < 1 basic.deliver a 1 '' q q1
        ";

#[test]
fn queues_take_turns() {
    check(&format!(
        "
        {}
        {HELD}
        > 1 basic.consume r b nowait
        > 1 basic.consume s c nowait
        > 1 basic.ack 1
        < 1 basic.deliver a 2 '' q q2
        > 1 basic.ack 2
        < 1 basic.deliver b 3 '' r r1
        > 1 basic.ack 3
        < 1 basic.deliver c 4 '' s s1
        > 1 basic.nack 4
        < 1 basic.deliver a 5 '' q q3
        > 1 basic.reject 5
        < 1 basic.deliver b 6 '' r r2
        > 1 basic.ack 6
        < 1 basic.deliver c 7 '' s s2
        > 1 basic.ack 7
        < 1 basic.deliver b 8 '' r r3
        > 1 basic.publish '' q q4
        > 1 basic.ack 8
        < 1 basic.deliver c 9 '' s s3
        > 1 basic.ack 9
        < 1 basic.deliver a 10 '' q q4
        > 1 basic.ack 10
        > 1 basic.publish '' r r4
        < 1 basic.deliver b 11 '' r r4
        ",
        filled("q r s", 3)
    ));
}

#[test]
fn queues_share_what_becomes_free_at_once() {
    check(&format!(
        "
        {}
        > 1 basic.qos 6 global
        < 1 basic.qos-ok
        > 1 basic.consume q a
        < 1 basic.consume-ok a
        < 1 basic.deliver a 1 '' q q1
        < 1 basic.deliver a 2 '' q q2
        < 1 basic.deliver a 3 '' q q3
        < 1 basic.deliver a 4 '' q q4
        < 1 basic.deliver a 5 '' q q5
        < 1 basic.deliver a 6 '' q q6
        > 1 basic.consume r b nowait
        > 1 basic.consume s c nowait
        > 1 basic.ack 6 multiple
        < 1 basic.deliver a 7 '' q q7
        < 1 basic.deliver a 8 '' q q8
        < 1 basic.deliver b 9 '' r r1
        < 1 basic.deliver c 10 '' s s1
        < 1 basic.deliver a 11 '' q q9
        < 1 basic.deliver b 12 '' r r2
        > 1 basic.qos 8 global
        < 1 basic.qos-ok
        < 1 basic.deliver c 13 '' s s2
        < 1 basic.deliver b 14 '' r r3
        > 1 basic.cancel b
        < 1 basic.cancel-ok b
        < 1 basic.deliver c 15 '' s s3
        < 1 basic.deliver c 16 '' s s4
        < 1 basic.deliver c 17 '' s s5
        > 1 basic.qos 0 global
        < 1 basic.qos-ok
        < 1 basic.deliver c 18 '' s s6
        < 1 basic.deliver c 19 '' s s7
        < 1 basic.deliver c 20 '' s s8
        < 1 basic.deliver c 21 '' s s9
        ",
        filled("q r s", 9)
    ));
}

#[test]
fn a_consumer_that_does_not_acknowledge_waits_for_room_and_takes_none() {
    check(&format!(
        "
        {}
        > 1 basic.qos 2 global
        < 1 basic.qos-ok
        > 1 basic.consume q a no-ack
        < 1 basic.consume-ok a
        < 1 basic.deliver a 1 '' q q1
        < 1 basic.deliver a 2 '' q q2
        < 1 basic.deliver a 3 '' q q3
        > 1 basic.consume r b
        < 1 basic.consume-ok b
        < 1 basic.deliver b 4 '' r r1
        < 1 basic.deliver b 5 '' r r2
        > 1 basic.publish '' q q4
        > 1 basic.publish '' q q5
        > 1 basic.ack 4
        < 1 basic.deliver b 6 '' r r3
        > 1 basic.ack 5
        < 1 basic.deliver a 7 '' q q4
        < 1 basic.deliver a 8 '' q q5
        > 1 basic.publish '' r r4
        < 1 basic.deliver b 9 '' r r4
        > 1 basic.publish '' q q6
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.consume q other no-ack
        < 2 basic.consume-ok other
        < 2 basic.deliver other 1 '' q q6
        > 1 basic.ack 9 multiple
        ! wait 1
        > 1 basic.publish '' q q7
        > 1 basic.publish '' q q8
        < 1 basic.deliver a 10 '' q q7
        < 2 basic.deliver other 2 '' q q8
        ",
        filled("q r", 3)
    ));
}

#[test]
fn what_a_recover_gives_back_is_room_for_another_queue() {
    check(&format!(
        "
        {}
        {HELD}
        > 1 basic.consume r b
        < 1 basic.consume-ok b
        > 1 basic.recover requeue
        < 1 basic.recover-ok
        < 1 basic.deliver b 2 '' r r1
        > 1 basic.recover requeue
        < 1 basic.recover-ok
        < 1 basic.deliver a 3 redelivered '' q x-delivery-count=1 q1
        > 1 basic.cancel b
        < 1 basic.cancel-ok b
        > 1 queue.purge q
        < 1 queue.purge-ok 0
        > 1 basic.consume r c
        < 1 basic.consume-ok c
        > 1 basic.recover-async requeue
        < 1 basic.deliver c 4 redelivered '' r x-delivery-count=1 r1
        ",
        filled("q r", 1)
    ));
}

#[test]
fn what_a_transaction_acknowledges_is_room_for_another_queue_once_it_commits() {
    check(&format!(
        "
        {}
        > 1 tx.select
        < 1 tx.select-ok
        {HELD}
        > 1 basic.consume r b
        < 1 basic.consume-ok b
        > 1 basic.ack 1
        > 1 tx.rollback
        < 1 tx.rollback-ok
        > 1 basic.ack 1
        > 1 tx.commit
        < 1 tx.commit-ok
        < 1 basic.deliver b 2 '' r r1
        ",
        filled("q r", 1)
    ));
}

#[test]
fn what_a_deleted_queue_held_is_room_for_another_queue() {
    check(&format!(
        "
        {}
        {HELD}
        > 1 basic.consume r b
        < 1 basic.consume-ok b
        b> 1 queue.delete q
        b< 1 queue.delete-ok 0
        < 1 basic.cancel a
        < 1 basic.deliver b 2 '' r r1
        ",
        filled("q r", 1)
    ));
}

#[test]
fn what_was_overdue_is_room_for_another_queue() {
    check(&format!(
        "
        {}
        > 1 basic.qos 1 global
        < 1 basic.qos-ok
        > 1 basic.consume q a x-consumer-timeout=1000
        < 1 basic.consume-ok a
        < 1 basic.deliver a 1 '' q q1
        > 1 basic.consume r b
        < 1 basic.consume-ok b
        ! wait 1000
        < 1 basic.cancel a
        < 1 basic.deliver b 2 '' r r1
        ",
        filled("q r", 1)
    ));
}

#[test]
fn a_queue_that_is_gone_or_empty_holds_nobody_up() {
    check(&format!(
        "
        {}
        {HELD}
        > 1 basic.consume r b nowait
        > 1 basic.consume s c nowait
        > 1 basic.consume t d nowait
        > 1 queue.purge r
        < 1 queue.purge-ok 2
        > 1 queue.delete s
        < 1 queue.delete-ok 2
        < 1 basic.cancel c
        > 1 basic.ack 1
        < 1 basic.deliver a 2 '' q q2
        > 1 basic.ack 2
        < 1 basic.deliver d 3 '' t t1
        > 1 basic.publish '' r r3
        > 1 basic.ack 3
        < 1 basic.deliver d 4 '' t t2
        > 1 basic.ack 4
        < 1 basic.deliver b 5 '' r r3
        ",
        filled("q r s t", 2)
    ));
}

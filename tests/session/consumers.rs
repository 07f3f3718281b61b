//! Consumers, their windows, and acknowledgements.

use crate::session::script::{check, check_whole};

/// A queue `q` with the messages m1, m2, ...
fn filled(count: usize) -> String {
    let mut script = "> 1 queue.declare q\n< 1 queue.declare-ok q 0 0\n".to_owned();
    for number in 1..=count {
        script.push_str(&format!("> 1 basic.publish '' q m{number}\n"));
    }
    script
}

#[test]
fn messages_are_delivered_in_order_and_acknowledged() {
    check(&format!(
        "
        {}
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' q m1
        < 1 basic.deliver c 2 '' q m2
        < 1 basic.deliver c 3 '' q m3
        > 1 basic.ack 2
        > 1 basic.ack 3 multiple
        > 1 basic.publish '' q m4
        < 1 basic.deliver c 4 '' q m4
        > 1 basic.ack 0 multiple
        > 1 basic.ack 0 multiple
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 0 1
        > 1 basic.cancel c
        < 1 basic.cancel-ok c
        > 1 basic.cancel nobody
        < 1 basic.cancel-ok nobody
        > 1 basic.cancel nobody nowait
        > 1 channel.close
        < 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 basic.get q
        < 1 basic.get-empty
        ",
        filled(3)
    ));
}

#[test]
fn a_tag_is_acknowledged_once() {
    for (acks, unknown) in [
        ("> 1 basic.ack 4", 4),
        ("> 1 basic.ack 0", 0),
        ("> 1 basic.ack 2\n> 1 basic.ack 2", 2),
        ("> 1 basic.ack 2 multiple\n> 1 basic.ack 1", 1),
        ("> 1 basic.ack 2 multiple\n> 1 basic.ack 1 multiple", 1),
        ("> 1 basic.ack 9 multiple", 9),
        ("> 1 basic.ack 18446744073709551615", u64::MAX),
    ] {
        check(&format!(
            "
            {}
            > 1 basic.consume q c
            < 1 basic.consume-ok c
            < 1 basic.deliver c 1 '' q m1
            < 1 basic.deliver c 2 '' q m2
            < 1 basic.deliver c 3 '' q m3
            {acks}
            < 1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag {unknown} (60,80)
            ",
            filled(3)
        ));
    }
}

#[test]
fn refused_messages_come_back_or_go() {
    check_whole(&format!(
        "
        {}
        > 1 basic.get q
        > 1 basic.get q
        > 1 basic.get q
        > 1 basic.get q
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 3 m1
        < 1 basic.get-ok 2 '' q 2 m2
        < 1 basic.get-ok 3 '' q 1 m3
        < 1 basic.get-ok 4 '' q 0 m4
        < 1 basic.get-empty
        > 1 basic.reject 3
        > 1 basic.nack 2 multiple requeue
        > 1 basic.reject 4 requeue
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 3 0
        > 1 basic.get q
        < 1 basic.get-ok 5 redelivered '' q 2 x-delivery-count=1 m1
        > 1 basic.nack 0 multiple
        > 1 basic.get q
        < 1 basic.get-ok 6 redelivered '' q 1 x-delivery-count=1 m2
        > 1 basic.recover requeue
        < 1 basic.recover-ok
        > 1 basic.get q no-ack
        < 1 basic.get-ok 7 redelivered '' q 1 x-delivery-count=2 m2
        > 1 basic.get q no-ack
        < 1 basic.get-ok 8 redelivered '' q 0 x-delivery-count=1 m4
        > 1 basic.ack 8
        < 1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 8 (60,80)
        ",
        filled(4)
    ));
}

#[test]
fn a_consumer_holds_no_more_than_its_prefetch() {
    check(&format!(
        "
        {}
        > 1 basic.qos 2
        < 1 basic.qos-ok
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' q m1
        < 1 basic.deliver c 2 '' q m2
        > 1 basic.ack 2
        < 1 basic.deliver c 3 '' q m3
        > 1 basic.ack 3 multiple
        < 1 basic.deliver c 4 '' q m4
        ",
        filled(4)
    ));
}

#[test]
fn a_channel_holds_no_more_than_its_consumers_share() {
    check(&format!(
        "
        {}
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 1 basic.publish '' r n1
        > 1 basic.qos 2 global
        < 1 basic.qos-ok
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' q m1
        < 1 basic.deliver c 2 '' q m2
        > 1 basic.consume r d
        < 1 basic.consume-ok d
        > 1 basic.cancel c
        < 1 basic.cancel-ok c
        < 1 basic.deliver d 3 '' r n1
        ",
        filled(4)
    ));
}

#[test]
fn an_acknowledgement_makes_room_for_every_queue_of_the_channel() {
    check(&format!(
        "
        {}
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 1 basic.publish '' r n1
        > 1 basic.qos 1 global
        < 1 basic.qos-ok
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' q m1
        > 1 basic.consume r d
        < 1 basic.consume-ok d
        > 1 basic.ack 1
        < 1 basic.deliver d 2 '' r n1
        > 1 basic.qos 0 global
        < 1 basic.qos-ok
        > 1 basic.publish '' r n2
        < 1 basic.deliver d 3 '' r n2
        ",
        filled(1)
    ));
}

#[test]
fn consumer_tags_are_unique_on_a_channel() {
    check(&format!(
        "
        {}
        > 1 basic.consume q c nowait
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.consume q c no-ack
        < 2 basic.consume-ok c
        > 1 basic.consume q ''
        < 1 basic.consume-ok amq.ctag-3
        > 1 basic.consume q c
        < 0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'c' (60,20)
        ",
        filled(0)
    ));
}

#[test]
fn arguments_of_a_consumer_are_checked() {
    check(&format!(
        "
        {}
        > 1 basic.consume q c exclusive x-priority=5
        < 1 basic.consume-ok c
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.consume q d
        < 2 channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)
        > 1 basic.consume q e x-priority=high
        < 1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\" (60,20)
        ",
        filled(0)
    ));
}

#[test]
fn a_consumer_is_told_when_its_queue_is_gone() {
    check(&format!(
        "
        {}
        b> 1 basic.consume q c
        b< 1 basic.consume-ok c
        b< 1 basic.deliver c 1 '' q m1
        > 1 queue.delete q
        < 1 queue.delete-ok 0
        b< 1 basic.cancel c
        b> 1 basic.ack 1
        b> 1 queue.declare q
        b< 1 queue.declare-ok q 0 0
        b> 1 basic.consume q c
        b< 1 basic.consume-ok c
        ",
        filled(1)
    ));
}

#[test]
fn a_closed_channel_gives_everything_back_in_its_place() {
    check(
        &format!(
            "
        {}
        > 1 queue.declare '' passive nowait
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.qos 2
        < 2 basic.qos-ok
        > 2 basic.consume q c
        < 2 basic.consume-ok c
        < 2 basic.deliver c 1 '' q m1
        < 2 basic.deliver c 2 '' q m2
        b> 1 basic.consume q d
        b< 1 basic.consume-ok d
        b< 1 basic.deliver d 1 '' q m3
        > 2 channel.close
        < 2 channel.close-ok
        b< 1 basic.deliver d 2 redelivered '' q x-delivery-count=1 m1
        b< 1 basic.deliver d 3 redelivered '' q x-delivery-count=1 m2
        ",
            filled(3)
        )
        .replace("> 1 queue.declare '' passive nowait\n", ""),
    );
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    check(
        "
        > 1 queue.declare q auto-delete
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 basic.cancel c
        < 1 basic.cancel-ok c
        > 1 queue.declare q passive
        < 1 channel.close 404 NOT_FOUND - no queue 'q' in vhost '/' (50,10)
        ",
    );
}

#[test]
fn what_was_dealt_before_a_cancel_is_delivered_before_its_answer() {
    check_whole(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 basic.publish '' q m1
        > 1 basic.cancel c
        > 1 basic.publish '' q m2
        < 1 basic.deliver c 1 '' q m1
        < 1 basic.cancel-ok c
        > 1 basic.ack 1
        > 1 basic.get q
        < 1 basic.get-ok 2 '' q 0 m2
        ",
    );
}

#[test]
fn a_cancel_does_not_hold_up_what_another_consumer_was_dealt() {
    check(
        "
        > 1 queue.declare p
        < 1 queue.declare-ok p 0 0
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q m1
        > 1 basic.consume p a
        < 1 basic.consume-ok a
        > 1 basic.consume q b
        > 1 basic.cancel a
        < 1 basic.consume-ok b
        < 1 basic.cancel-ok a
        < 1 basic.deliver b 1 '' q m1
        ",
    );
}

#[test]
fn a_closing_channel_does_not_hold_up_what_another_was_dealt() {
    check_whole(
        "
        > 1 queue.declare q nowait
        > 2 channel.open
        > 2 basic.consume q c nowait
        < 2 channel.open-ok
        > 1 queue.declare r nowait
        > 1 basic.publish '' r n1
        > 1 basic.consume r d no-ack
        > 2 channel.close
        < 1 basic.consume-ok d
        < 2 channel.close-ok
        < 1 basic.deliver d 1 '' r n1
        ",
    );
}

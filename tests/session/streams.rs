//! Streams: the numbers that deliveries carry, windows, and how consumers come and go.

use crate::session::script::check;

/// A stream `s` with the messages m0, m1, ...
fn filled(count: usize) -> String {
    let mut script =
        "> 1 queue.declare s durable x-queue-type=stream\n< 1 queue.declare-ok s 0 0\n".to_owned();
    for number in 0..count {
        script.push_str(&format!("> 1 basic.publish '' s m{number}\n"));
    }
    script.push_str("> 1 basic.qos 2\n< 1 basic.qos-ok\n");
    script
}

#[test]
fn every_consumer_gets_everything_with_its_number() {
    check(&format!(
        "
        {}
        > 1 basic.consume s c x-stream-offset=first
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' s x-stream-offset=0 m0
        < 1 basic.deliver c 2 '' s x-stream-offset=1 m1
        b> 1 basic.qos 9
        b< 1 basic.qos-ok
        b> 1 basic.consume s c x-stream-offset=1
        b< 1 basic.consume-ok c
        b< 1 basic.deliver c 1 '' s x-stream-offset=1 m1
        b< 1 basic.deliver c 2 '' s x-stream-offset=2 m2
        > 1 basic.ack 2 multiple
        < 1 basic.deliver c 3 '' s x-stream-offset=2 m2
        > 1 basic.publish '' s m3 x-a=b
        < 1 basic.deliver c 4 '' s x-a=b x-stream-offset=3 m3
        b< 1 basic.deliver c 3 '' s x-a=b x-stream-offset=3 m3
        > 1 queue.declare s passive
        < 1 queue.declare-ok s 4 2
        ",
        filled(3)
    ));
}

#[test]
fn nothing_comes_back_to_a_stream() {
    check(&format!(
        "
        {}
        > 1 basic.consume s c x-stream-offset=first
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' s x-stream-offset=0 m0
        < 1 basic.deliver c 2 '' s x-stream-offset=1 m1
        > 1 basic.nack 1 requeue
        < 1 basic.deliver c 3 '' s x-stream-offset=2 m2
        > 1 basic.reject 2
        < 1 basic.deliver c 4 '' s x-stream-offset=3 m3
        > 1 basic.recover requeue
        < 1 basic.recover-ok
        < 1 basic.deliver c 5 '' s x-stream-offset=4 m4
        < 1 basic.deliver c 6 '' s x-stream-offset=5 m5
        > 1 basic.cancel c
        < 1 basic.cancel-ok c
        > 1 basic.ack 6 multiple
        > 1 channel.close
        < 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.declare s passive
        < 1 queue.declare-ok s 7 0
        ",
        filled(7)
    ));
}

#[test]
fn who_asks_to_be_remembered_goes_on_behind_what_it_handled() {
    check(&format!(
        "
        {}
        > 1 basic.consume s c x-stream-automatic-offset-tracking=true
        < 1 basic.consume-ok c
        < 1 basic.deliver c 1 '' s x-stream-offset=0 m0
        < 1 basic.deliver c 2 '' s x-stream-offset=1 m1
        > 1 basic.cancel c
        < 1 basic.cancel-ok c
        > 1 basic.ack 1
        > 1 channel.close
        < 1 channel.close-ok
        b> 1 basic.qos 9
        b< 1 basic.qos-ok
        b> 1 basic.consume s c x-stream-automatic-offset-tracking=true
        b< 1 basic.consume-ok c
        b< 1 basic.deliver c 1 '' s x-stream-offset=1 m1
        b< 1 basic.deliver c 2 '' s x-stream-offset=2 m2
        ",
        filled(3)
    ));
}

#[test]
fn what_streams_do_not_have_is_refused() {
    let on = "queue 's' in vhost '/'";
    for (asked, answer) in [
        (
            "> 1 basic.consume s c no-ack",
            format!(
                "0 connection.close 540 NOT_IMPLEMENTED - automatic acknowledgement not supported by stream {on} (60,20)"
            ),
        ),
        (
            "> 1 basic.get s",
            format!(
                "0 connection.close 540 NOT_IMPLEMENTED - basic.get not supported by stream queues {on} (60,70)"
            ),
        ),
        (
            "> 1 queue.purge s",
            format!(
                "0 connection.close 540 NOT_IMPLEMENTED - queue.purge not supported by stream queues {on} (50,30)"
            ),
        ),
        (
            "> 1 basic.consume s c x-priority=1",
            format!(
                "1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for {on} of queue type rabbit_stream_queue (60,20)"
            ),
        ),
        (
            "> 1 basic.consume s c x-stream-offset=tomorrow",
            format!(
                "1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for {on}: \
                 {{invalid_stream_offset_arg,{{longstr,<<\"tomorrow\">>}}}} (60,20)"
            ),
        ),
        (
            "> 1 basic.consume s '' x-stream-automatic-offset-tracking=true",
            format!(
                "1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-stream-automatic-offset-tracking' for {on}: \
                 \"needs a consumer tag, by which it is known again\" (60,20)"
            ),
        ),
    ] {
        check(&format!("{}\n{asked}\n< {answer}\n", filled(1)));
    }
}

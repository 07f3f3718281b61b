//! Channels, and faults that end a channel or the connection.

use crate::session::script::{check, opening};

#[test]
fn channels_open_and_close() {
    check(
        "
        > 2 channel.open
        < 2 channel.open-ok
        > 2 channel.flow active
        < 2 channel.flow-ok true
        > 2 access.request
        < 2 access.request-ok
        > 2 channel.close
        < 2 channel.close-ok
        > 2 channel.open
        < 2 channel.open-ok
        > 2 channel.close
        > 2 channel.open
        < 2 channel.close-ok
        < 2 channel.open-ok
        > 2047 channel.open
        < 2047 channel.open-ok
        ",
    );
}

/// aiormq lets programs choose a channel's number, and its own suite chooses the highest that there
/// is.
#[test]
fn channels_are_limited_in_number_and_may_have_any() {
    check(&format!(
        "
        {}
        h> 65535 channel.open
        h< 65535 channel.open-ok
        h> 3 channel.open
        h< 3 channel.open-ok
        h> 3 channel.close
        h< 3 channel.close-ok
        h> 7 channel.open
        h< 7 channel.open-ok
        h> 1 channel.open
        h< 0 connection.close 530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2) (0,0)
        ",
        opening("2 131072 0")
    )    );
}

#[test]
fn faults_that_end_the_connection() {
    for (said, refusal) in [
        ("2 queue.declare q", "504 CHANNEL_ERROR - expected 'channel.open' (50,10)"),
        ("2 channel.close", "504 CHANNEL_ERROR - expected 'channel.open' (20,40)"),
        ("1 channel.open", "504 CHANNEL_ERROR - second 'channel.open' seen (20,10)"),
        ("0 channel.open", "504 CHANNEL_ERROR - unexpected method in connection state running (20,10)"),
        ("0 connection.open /", "504 CHANNEL_ERROR - unexpected method in connection state running (10,40)"),
        ("1 connection.open /", "503 COMMAND_INVALID - unimplemented method (10,40)"),
        ("1 method 60 60 000000000000000000000000", "503 COMMAND_INVALID - unimplemented method (60,60)"),
        ("1 method 60 99", "503 COMMAND_INVALID - unimplemented method (60,99)"),
        ("1 method 20 41", "503 COMMAND_INVALID - unimplemented method (20,41)"),
        ("1 method 50 10 00000568", "501 FRAME_ERROR - method 10 of class 50 does not decode (50,10)"),
        ("2 method 50 10 00000568", "501 FRAME_ERROR - method 10 of class 50 does not decode (50,10)"),
        ("1 heartbeat", "505 UNEXPECTED_FRAME - unexpected frame of type 8 on channel 1 (0,0)"),
        ("0 content-body x", "505 UNEXPECTED_FRAME - unexpected frame of type 3 on channel 0 (0,0)"),
        (
            "1 content-body x",
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
        ),
        ("1 channel.flow", "540 NOT_IMPLEMENTED - active=false (20,20)"),
        ("1 basic.publish '' q x immediate", "540 NOT_IMPLEMENTED - immediate=true (60,40)"),
        ("1 method 60 10 00000001000000", "540 NOT_IMPLEMENTED - prefetch_size!=0 (1) (60,10)"),
        ("1 basic.recover", "540 NOT_IMPLEMENTED - requeue=false (60,110)"),
        ("1 basic.recover-async", "540 NOT_IMPLEMENTED - requeue=false (60,100)"),
    ] {
        check(&format!(
            "
            > {said}
            < 0 connection.close {refusal}
            ! open a
            > 1 channel.open
            > 0 connection.close-ok
            ! closed a
            "
        ));
    }
}

#[test]
fn a_stream_that_is_no_frames_any_more_is_not_heard() {
    check(
        "
        > hex 0100010000000400
        > hex 000000ab
        < 0 connection.close 501 FRAME_ERROR - type 1, all octets = <<0,0,0,0>>: {invalid_frame_end_marker,171} (0,0)
        > 0 connection.close-ok
        ! wait 2900
        ! open a
        ! wait 100
        ! closed a
        ",
    );
}

#[test]
fn a_frame_of_an_unknown_kind_ends_where_it_says() {
    check(
        "
        > hex 0900000000000161ce
        < 0 connection.close 501 FRAME_ERROR - type 9, all octets = <<\"a\">>: unknown_frame (0,0)
        > 1 queue.declare q
        > 0 connection.close-ok
        ! closed a
        ",
    );
}

#[test]
fn a_closed_channel_ignores_everything_until_close_ok() {
    check(
        "
        > 1 queue.declare missing passive
        < 1 channel.close 404 NOT_FOUND - no queue 'missing' in vhost '/' (50,10)
        > 1 queue.declare ignored
        > 1 basic.publish '' ignored x
        > 1 channel.open
        > 1 channel.close
        < 1 channel.close-ok
        > 1 channel.close-ok
        > 1 channel.open
        < 1 channel.open-ok
        > 1 queue.declare ignored passive
        < 1 channel.close 404 NOT_FOUND - no queue 'ignored' in vhost '/' (50,10)
        > 2 channel.open
        < 2 channel.open-ok
        ",
    );
}

#[test]
fn a_lost_client_loses_nothing_but_its_exclusive_queues() {
    check(
        "
        > 1 queue.declare mine exclusive
        < 1 queue.declare-ok mine 0 0
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q one
        > 1 basic.publish '' q two
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 1 one
        b> 1 queue.declare mine passive
        b< 1 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. (50,10)
        b> 1 channel.close-ok
        ! lost a
        b> 1 channel.open
        b< 1 channel.open-ok
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 1 redelivered '' q 1 x-delivery-count=1 one
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 2 '' q 0 two
        b> 1 queue.declare mine passive
        b< 1 channel.close 404 NOT_FOUND - no queue 'mine' in vhost '/' (50,10)
        ",
    );
}

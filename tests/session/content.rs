//! Messages in any framing, and what is looked at in their properties.

use crate::session::script::{check, play};
use crate::session::wire::encode;
use crate::session::world::limited;
use crate::session::world::{Pieces, World};
use leveret::broker::BrokerSettings;
use leveret::config::Limits;

#[test]
fn bodies_of_any_size_come_back_whole() {
    for size in [0, 1, 4088, 4089, 16_383, 16_384, 65_535, 65_536, 131_064, 131_065, 1_000_000] {
        for frame_max in [4096, 131_072] {
            let script = format!(
                "
                > 1 queue.declare q
                < 1 queue.declare-ok q 0 0
                > 1 basic.publish '' q *{size} persistent frame-max={frame_max}
                > 1 basic.publish '' q after
                > 1 basic.get q
                > 1 basic.consume q c no-ack
                < 1 basic.get-ok 1 '' q 1 persistent BODY
                < 1 basic.consume-ok c
                < 1 basic.deliver c 2 '' q after
                > 1 basic.nack 1 requeue
                < 1 basic.deliver c 3 redelivered '' q persistent x-delivery-count=1 BODY
                "
            );
            let body = match size {
                0 => "''".to_owned(),
                1 => "x".to_owned(),
                _ => format!("*{size}"),
            };
            let mut world = World::new(Pieces::Whole, BrokerSettings::default());
            play(&mut world, &script.replace("BODY", &body));
        }
    }
}

#[test]
fn contents_of_two_channels_may_be_interleaved() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 2 channel.open
        < 2 channel.open-ok
        > 1 method 60 40 000000017100
        > 2 method 60 40 000000017100
        > 2 content-header 60 6
        > 1 content-header 60 4
        > 1 content-body one
        > 2 content-body second
        > 1 content-body 1
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 1 second
        > 1 basic.get q
        < 1 basic.get-ok 2 '' q 0 one1
        ",
    );
}

#[test]
fn the_time_to_live_begins_when_all_of_a_content_is_there() {
    check(
        "
        > 1 queue.declare q x-message-ttl=100
        < 1 queue.declare-ok q 0 0
        > 1 method 60 40 000000017100
        > 1 content-header 60 4
        > 1 content-body la
        ! wait 150
        > 1 content-body te
        ! wait 99
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 1 0
        ! wait 1
        > 1 basic.get q
        < 1 basic.get-empty
        > 1 basic.qos 1
        < 1 basic.qos-ok
        > 1 basic.consume q c
        < 1 basic.consume-ok c
        > 1 method 60 40 000000017100
        > 1 content-header 60 4
        ! wait 150
        > 1 content-body deal
        < 1 basic.deliver c 1 '' q deal
        ",
    );
}

/// The protocol has no way to split it, and RabbitMQ sends it too.
#[test]
fn a_content_header_is_one_frame_whatever_the_consumers_frames_may_be() {
    let long = "y".repeat(9000);
    check(&format!(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q large x-long={long}
        > 1 basic.publish '' q after
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN guest guest
        h> 0 connection.tune-ok 10 4096 0
        h> 0 connection.open /
        h> 1 channel.open
        h< 0 connection.tune 2047 131072 60
        h< 0 connection.open-ok
        h< 1 channel.open-ok
        h> 1 basic.get q
        h< 1 basic.get-ok 1 '' q 1 x-long={long} large
        h> 1 basic.nack 1 requeue
        h> 1 basic.consume q c no-ack
        h< 1 basic.consume-ok c
        h< 1 basic.deliver c 2 redelivered '' q x-delivery-count=1 x-long={long} large
        h< 1 basic.deliver c 3 '' q after
        "
    ));
}

#[test]
fn contents_out_of_order_end_the_connection() {
    let header = "expected content header for class 60, got non content header frame instead";
    let body = "expected content body, got non content body frame instead";
    for (second, third, refusal) in [
        ("1 queue.declare q", "", format!("505 UNEXPECTED_FRAME - {header} (60,40)")),
        ("1 content-body x", "", format!("505 UNEXPECTED_FRAME - {header} (60,40)")),
        ("1 content-header 60 5", "> 1 content-header 60 5", format!("505 UNEXPECTED_FRAME - {body} (60,40)")),
        ("1 content-header 60 5", "> 1 queue.declare q", format!("505 UNEXPECTED_FRAME - {body} (60,40)")),
        (
            "1 content-header 60 5",
            "> 1 content-body toolong",
            "501 FRAME_ERROR - content body frame exceeds remaining content size (60,40)".to_owned(),
        ),
        (
            "1 content-header 50 5",
            "",
            "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead (60,40)".to_owned(),
        ),
        (
            "1 content-header 60 536870913",
            "",
            "501 FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912 (60,40)".to_owned(),
        ),
    ] {
        check(&format!(
            "
            > 1 method 60 40 000000017100
            > {second}
            {third}
            < 0 connection.close {refusal}
            "
        ));
    }
}

#[test]
fn what_properties_claim_is_checked() {
    for (flag, refusal) in [
        ("expiration=x", "invalid expiration 'x': no_integer"),
        ("expiration=12h", "invalid expiration '12h': {leftover_string,\"h\"}"),
        ("expiration=-1", "invalid expiration '-1': {value_negative,-1}"),
        ("expiration=315360000001", "invalid expiration '315360000001': {value_too_large,315360000001}"),
        ("user-id=root", "user_id property set to 'root' but authenticated user was 'guest'"),
    ] {
        check(&format!(
            "
            > 1 basic.publish '' q x {flag}
            < 1 channel.close 406 PRECONDITION_FAILED - {refusal} (60,40)
            "
        ));
    }
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 basic.publish '' q x user-id=guest expiration=60000
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 0 x
        ",
    );
}

#[test]
fn a_message_above_the_limit_ends_the_channel_and_is_skipped() {
    let settings = limited(Limits { message_bytes_max: 10, ..Limits::default() });
    for pieces in [Pieces::Whole, Pieces::Bytes] {
        let mut world = World::new(pieces, settings.clone());
        play(
            &mut world,
            "
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 basic.publish '' q 0123456789
            > 1 basic.publish '' q 0123456789a
            > 1 basic.publish '' q ignored
            < 1 channel.close 406 PRECONDITION_FAILED - message size 11 is larger than configured max size 10 (60,40)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 queue.declare q passive
            < 1 queue.declare-ok q 1 0
            ",
        );
    }
}

#[test]
fn a_dialogue_may_be_cut_anywhere() {
    let said: Vec<u8> = [
        "1 queue.declare q",
        "1 basic.publish '' q one",
        "1 basic.publish '' q *5000 frame-max=4096",
        "1 basic.get q",
        "1 basic.ack 1",
        "1 basic.publish '' nowhere back mandatory",
        "1 queue.declare q passive",
        "1 channel.close",
    ]
    .into_iter()
    .flat_map(encode)
    .collect();
    let dialogue = |cut: usize| {
        let mut world = World::new(Pieces::Whole, BrokerSettings::default());
        play(&mut world, "> 1 confirm.select\n< 1 confirm.select-ok");
        world.say("a", &said[..cut]);
        world.say("a", &said[cut..]);
        let mut heard = world.heard("a");
        // How many reads there are decides how confirms are joined; that all come is for other
        // tests.
        heard.retain(|sentence| !sentence.contains("basic.ack"));
        heard
    };
    let whole = dialogue(0);
    let answers =
        ["declare-ok q 0 0", "get-ok 1 '' q 1 one", "return 312", "declare-ok q 1 0", "channel.close-ok"];
    assert_eq!(whole.len(), answers.len(), "{whole:?}");
    assert!(whole.iter().zip(answers).all(|(heard, answer)| heard.contains(answer)), "{whole:?}");
    for cut in (1..said.len()).filter(|cut| *cut < 600 || *cut > said.len() - 400 || cut % 97 == 0) {
        assert_eq!(dialogue(cut), whole, "cut at {cut}");
    }
}

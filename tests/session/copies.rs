//! Copies: further routing keys in the headers `CC` and `BCC`.

use crate::session::script::{check, check_whole};

#[test]
fn every_key_is_routed_and_blind_ones_are_not_shown() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 queue.declare r
        < 1 queue.declare-ok r 0 0
        > 1 queue.declare s
        < 1 queue.declare-ok s 0 0
        > 1 basic.publish '' q hello CC=[r,q,nowhere] BCC=[s,r] x-own=1
        > 1 basic.get q
        < 1 basic.get-ok 1 '' q 0 CC=[r,q,nowhere] x-own=1 hello
        > 1 basic.get r
        < 1 basic.get-ok 2 '' q 0 CC=[r,q,nowhere] x-own=1 hello
        > 1 basic.consume s c
        < 1 basic.consume-ok c
        < 1 basic.deliver c 3 '' q CC=[r,q,nowhere] x-own=1 hello
        > 1 basic.nack 3 requeue
        < 1 basic.deliver c 4 redelivered '' q CC=[r,q,nowhere] x-delivery-count=1 x-own=1 hello
        > 1 basic.publish '' nowhere lost CC=[] BCC=[]
        > 1 basic.publish '' nowhere hidden BCC=[s]
        < 1 basic.deliver c 5 '' nowhere hidden
        > 1 basic.publish '' q odd CC=[5,s,7]
        < 1 basic.deliver c 6 '' q CC=[3] odd
        ",
    );
}

#[test]
fn copies_go_through_every_kind_of_exchange() {
    for (kind, key, copy) in [("direct", "key", "key"), ("topic", "k.*.#", "k.e.y"), ("fanout", "a", "b")] {
        check(&format!(
            "
            > 1 exchange.declare x {kind}
            < 1 exchange.declare-ok
            > 1 exchange.declare behind fanout
            < 1 exchange.declare-ok
            > 1 exchange.declare other fanout
            < 1 exchange.declare-ok
            > 1 exchange.declare spare direct alternate-exchange=other
            < 1 exchange.declare-ok
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 queue.declare r
            < 1 queue.declare-ok r 0 0
            > 1 queue.bind q x {key}
            < 1 queue.bind-ok
            > 1 exchange.bind behind x {key}
            < 1 exchange.bind-ok
            > 1 queue.bind q behind ''
            < 1 queue.bind-ok
            > 1 queue.bind r other ''
            < 1 queue.bind-ok
            > 1 queue.bind q spare here
            < 1 queue.bind-ok
            > 1 basic.publish x nowhere once CC=[{copy}] BCC=[{copy}]
            > 1 basic.get q
            < 1 basic.get-ok 1 x nowhere 0 CC=[{copy}] once
            > 1 basic.publish spare nowhere taken CC=[here]
            > 1 basic.get q
            < 1 basic.get-ok 2 spare nowhere 0 CC=[here] taken
            > 1 basic.get r
            < 1 basic.get-empty
            > 1 basic.publish spare nowhere spared BCC=[not.here]
            > 1 basic.get r
            < 1 basic.get-ok 3 spare nowhere 0 spared
            "
        ));
    }
}

#[test]
fn what_is_not_an_array_is_refused() {
    for (headers, name, kind) in [
        ("CC=text", "CC", "longstr"),
        ("CC=5 BCC=text", "CC", "signedint"),
        ("CC=[q] BCC=5", "BCC", "signedint"),
    ] {
        check(&format!(
            "
            > 1 queue.declare q
            < 1 queue.declare-ok q 0 0
            > 1 basic.publish '' q hello {headers}
            < 1 channel.close 406 PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}} (60,40)
            > 1 channel.close-ok
            > 1 channel.open
            < 1 channel.open-ok
            > 1 queue.declare q passive
            < 1 queue.declare-ok q 0 0
            "
        ));
    }
    // First the exchange, then `expiration`, then copies, then the user.
    for (said, refusal) in [
        ("nowhere q x CC=5 expiration=x", "404 NOT_FOUND - no exchange 'nowhere' in vhost '/'"),
        ("'' q x CC=5 expiration=x", "406 PRECONDITION_FAILED - invalid expiration 'x': no_integer"),
        (
            "'' q x BCC=5 user-id=root",
            "406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"BCC\",signedint}",
        ),
        (
            "'' q x BCC=[q] user-id=root",
            "406 PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'",
        ),
    ] {
        check(&format!("> 1 basic.publish {said}\n< 1 channel.close {refusal} (60,40)"));
    }
}

#[test]
fn only_what_no_key_routes_is_returned() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 confirm.select
        < 1 confirm.select-ok
        > 1 basic.publish '' nowhere one CC=[q] mandatory
        < 1 basic.ack 1
        > 1 basic.publish '' nowhere two BCC=[q] mandatory
        < 1 basic.ack 2
        > 1 basic.publish '' nowhere back CC=[no] BCC=[neither] mandatory
        < 1 basic.return 312 NO_ROUTE '' nowhere CC=[no] back
        < 1 basic.ack 3
        > 1 basic.publish '' nowhere *70000 BCC=[neither] mandatory
        < 1 basic.return 312 NO_ROUTE '' nowhere *70000
        < 1 basic.ack 4
        > 1 queue.declare q passive
        < 1 queue.declare-ok q 2 0
        ",
    );
}

#[test]
fn bodies_of_any_size_have_copies() {
    for size in [100, 20_000, 65_535, 65_536, 300_000] {
        for copies in ["CC=[q,r] BCC=[s]", "CC=[q,r,s]"] {
            let shown = copies.replace(" BCC=[s]", "");
            check_whole(&format!(
                "
                > 1 queue.declare q nowait
                > 1 queue.declare r nowait
                > 1 queue.declare s nowait
                > 1 basic.publish '' nowhere *{size} {copies}
                > 1 basic.get q
                < 1 basic.get-ok 1 '' nowhere 0 {shown} *{size}
                > 1 basic.get r
                < 1 basic.get-ok 2 '' nowhere 0 {shown} *{size}
                > 1 basic.get s
                < 1 basic.get-ok 3 '' nowhere 0 {shown} *{size}
                "
            ));
        }
    }
}

#[test]
fn copies_keep_their_place_among_other_messages() {
    check_whole(
        "
        > 1 queue.declare q nowait
        > 1 queue.declare r nowait
        > 1 basic.publish '' q 1
        > 1 basic.publish '' q 2 CC=[r]
        > 1 basic.publish '' q 3
        > 1 basic.publish '' r 4
        > 1 basic.publish '' r 5 BCC=[q]
        > 1 basic.publish '' q 6
        > 1 basic.consume q q no-ack
        > 1 basic.consume r r no-ack
        < 1 basic.consume-ok q
        < 1 basic.consume-ok r
        < 1 basic.deliver q 1 '' q 1
        < 1 basic.deliver q 2 '' q CC=[r] 2
        < 1 basic.deliver q 3 '' q 3
        < 1 basic.deliver q 4 '' r 5
        < 1 basic.deliver q 5 '' q 6
        < 1 basic.deliver r 6 '' q CC=[r] 2
        < 1 basic.deliver r 7 '' r 4
        < 1 basic.deliver r 8 '' r 5
        ",
    );
}

#[test]
fn copies_wait_for_their_transaction() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        > 1 tx.select
        < 1 tx.select-ok
        > 1 basic.publish '' nowhere one BCC=[q]
        > 1 basic.publish '' nowhere back BCC=[neither] mandatory
        > 1 basic.get q
        < 1 basic.get-empty
        > 1 tx.commit
        < 1 basic.return 312 NO_ROUTE '' nowhere back
        < 1 tx.commit-ok
        > 1 basic.get q
        < 1 basic.get-ok 1 '' nowhere 0 one
        ",
    );
}

#[test]
fn a_dead_letter_goes_to_the_copies_again_unless_its_queue_has_a_key_for_it() {
    let death = "x-death=[1] x-first-death-exchange= x-first-death-queue=q x-first-death-reason=rejected \
                 x-last-death-exchange= x-last-death-queue=q x-last-death-reason=rejected";
    for (key, copies_get_it) in [("", true), (" x-dead-letter-routing-key=dead", false)] {
        let (seen, count) = if copies_get_it { ("q", 1) } else { ("dead", 0) };
        check(&format!(
            "
            > 1 exchange.declare dlx direct
            < 1 exchange.declare-ok
            > 1 queue.declare q x-dead-letter-exchange=dlx{key}
            < 1 queue.declare-ok q 0 0
            > 1 queue.declare main
            < 1 queue.declare-ok main 0 0
            > 1 queue.bind main dlx {seen}
            < 1 queue.bind-ok
            > 1 queue.declare open
            < 1 queue.declare-ok open 0 0
            > 1 queue.bind open dlx c
            < 1 queue.bind-ok
            > 1 queue.declare blind
            < 1 queue.declare-ok blind 0 0
            > 1 queue.bind blind dlx b
            < 1 queue.bind-ok
            > 1 basic.publish '' q hello CC=[c] BCC=[b]
            > 1 basic.get q
            < 1 basic.get-ok 1 '' q 0 CC=[c] hello
            > 1 basic.reject 1
            > 1 basic.get main no-ack
            < 1 basic.get-ok 2 dlx {seen} 0 CC=[c] {death} hello
            > 1 queue.declare open passive
            < 1 queue.declare-ok open {count} 0
            > 1 queue.declare blind passive
            < 1 queue.declare-ok blind {count} 0
            "
        ));
    }
}

//! Direct reply-to.

use crate::session::script::{check, play};
use crate::session::wire::encode;
use crate::session::world::{Pieces, World};
use leveret::broker::BrokerSettings;

/// `a` takes replies on channel 1, and its question, which names them `$1`, is in the queue `q`.
const ASKED: &str = "
    > 1 queue.declare q
    < 1 queue.declare-ok q 0 0
    > 1 basic.consume amq.rabbitmq.reply-to t no-ack
    < 1 basic.consume-ok t
    > 1 basic.publish '' q question reply-to=amq.rabbitmq.reply-to x-own=1
    b> 1 basic.get q no-ack
    b< 1 basic.get-ok 1 '' q 0 reply-to=$1 x-own=1 question
";

#[track_caller]
fn check_asked(rest: &str) {
    check(&format!("{ASKED}{rest}"));
}

#[test]
fn a_reply_goes_to_the_channel_that_asked() {
    check_asked(
        "
        b> 1 basic.publish '' $1 answer x-own=2
        < 1 basic.deliver t 1 '' $1 x-own=2 answer
        b> 1 basic.publish '' $1 persistent persistent
        b> 1 basic.publish '' $1 *300000 mandatory
        b> 1 basic.publish '' nowhere copy CC=[$1]
        < 1 basic.deliver t 2 '' $1 persistent persistent
        < 1 basic.deliver t 3 '' $1 *300000
        < 1 basic.deliver t 4 '' nowhere CC=[$1] copy
        > 1 basic.publish '' q again reply-to=amq.rabbitmq.reply-to
        > 1 basic.publish '' q *70000 CC=[q] BCC=[q] reply-to=amq.rabbitmq.reply-to
        > 1 basic.publish '' q other reply-to=amq.rabbitmq.reply-to.mine
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 2 '' q 2 reply-to=$1 again
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 3 '' q 1 reply-to=$1 CC=[q] *70000
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 4 '' q 0 reply-to=amq.rabbitmq.reply-to.mine other
        b> 1 confirm.select
        b< 1 confirm.select-ok
        b> 1 basic.publish '' $1 persistent persistent
        b< 1 basic.ack 1
        < 1 basic.deliver t 5 '' $1 persistent persistent
        b> 1 basic.publish '' amq.rabbitmq.reply-to back mandatory
        b< 1 basic.return 312 NO_ROUTE '' amq.rabbitmq.reply-to back
        b< 1 basic.ack 2
        b> 1 basic.publish amq.direct $1 back mandatory
        b< 1 basic.return 312 NO_ROUTE amq.direct $1 back
        b< 1 basic.ack 3
        ",
    );
}

#[test]
fn each_channel_has_its_own_and_each_consumer_a_new_one() {
    check_asked(
        "
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.publish '' q x reply-to=amq.rabbitmq.reply-to
        < 2 channel.close 406 PRECONDITION_FAILED - fast reply consumer does not exist (60,40)
        > 2 channel.close-ok
        > 2 channel.open
        < 2 channel.open-ok
        > 2 basic.consume amq.rabbitmq.reply-to t no-ack
        < 2 basic.consume-ok t
        > 2 basic.publish '' q second reply-to=amq.rabbitmq.reply-to
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 2 '' q 0 reply-to=$2 second
        > 1 basic.cancel t
        < 1 basic.cancel-ok t
        > 1 basic.consume amq.rabbitmq.reply-to t no-ack
        < 1 basic.consume-ok t
        > 1 basic.publish '' q third reply-to=amq.rabbitmq.reply-to
        b> 1 basic.get q no-ack
        b< 1 basic.get-ok 3 '' q 0 reply-to=$3 third
        b> 1 basic.publish '' $1 1 mandatory
        b< 1 basic.return 312 NO_ROUTE '' $1 1
        b> 1 basic.publish '' $2 2 mandatory
        < 2 basic.deliver t 1 '' $2 2
        b> 1 basic.publish '' $3 3 mandatory
        < 1 basic.deliver t 1 '' $3 3
        > 1 basic.cancel t
        < 1 basic.cancel-ok t
        > 1 basic.publish '' q x reply-to=amq.rabbitmq.reply-to
        < 1 channel.close 406 PRECONDITION_FAILED - fast reply consumer does not exist (60,40)
        ",
    );
}

#[test]
fn a_reply_that_comes_too_late_is_dropped_or_returned() {
    for end in [
        "> 1 basic.cancel t\n< 1 basic.cancel-ok t",
        "> 1 channel.close\n< 1 channel.close-ok",
        "> 0 connection.close\n< 0 connection.close-ok",
        "! lost a",
        "> 1 basic.publish nowhere x x\n< 1 channel.close 404 NOT_FOUND - no exchange 'nowhere' in vhost '/' (60,40)",
    ] {
        check_asked(&format!(
            "
            b> 1 queue.declare $1 passive
            b< 1 queue.declare-ok $1 0 1
            b> 1 basic.publish '' $1 answer
            < 1 basic.deliver t 1 '' $1 answer
            {end}
            b> 1 basic.publish '' $1 dropped
            b> 1 basic.publish '' $1 returned mandatory
            b< 1 basic.return 312 NO_ROUTE '' $1 returned
            b> 1 queue.declare $1 passive
            b< 1 channel.close 404 NOT_FOUND - no queue '$1' in vhost '/' (50,10)
            "
        ));
    }
}

#[test]
fn consumers_of_replies_are_checked() {
    for (said, refusal) in [
        (
            "> 1 basic.consume amq.rabbitmq.reply-to t",
            "406 PRECONDITION_FAILED - reply consumer cannot acknowledge",
        ),
        (
            "> 1 basic.consume amq.rabbitmq.reply-to t no-ack\n< 1 basic.consume-ok t\n> 1 basic.consume amq.rabbitmq.reply-to u no-ack",
            "406 PRECONDITION_FAILED - reply consumer already set",
        ),
        (
            "> 1 basic.consume amq.rabbitmq.reply-to.nobody t no-ack",
            "404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to.nobody' in vhost '/'",
        ),
        (
            "> 1 basic.consume amq.rabbitmq.reply-tox t",
            "404 NOT_FOUND - no queue 'amq.rabbitmq.reply-tox' in vhost '/'",
        ),
    ] {
        check(&format!("{said}\n< 1 channel.close {refusal} (60,20)"));
    }
    check(
        "
        > 1 basic.consume amq.rabbitmq.reply-to t no-ack
        < 1 basic.consume-ok t
        > 1 basic.consume amq.rabbitmq.reply-to t no-ack
        < 0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 't' (60,20)
        ",
    );
    // What has no meaning for replies is not looked at.
    check(
        "
        > 1 queue.declare amq.rabbitmq.reply-to
        < 1 queue.declare-ok amq.rabbitmq.reply-to 0 1
        > 1 basic.consume '' t no-ack exclusive x-priority=high
        < 1 basic.consume-ok t
        > 1 basic.consume '' t no-ack nowait
        < 0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 't' (60,20)
        ",
    );
}

#[test]
fn a_reply_queue_is_there_for_publishers_and_for_nothing_else() {
    let volatile = "cannot bind or unbind to a volatile (direct reply-to) queue";
    // Whoever asks, the connection that it belongs to too.
    for (by, channel) in [("b", 1), ("", 2)] {
        let open = if channel == 2 { "> 2 channel.open\n< 2 channel.open-ok" } else { "" };
        for (said, answer) in [
            (
                "basic.consume $1 x no-ack",
                "channel.close 406 PRECONDITION_FAILED - only creator channel may consume from queue '$1' in vhost '/' (60,20)",
            ),
            ("queue.purge $1", "queue.purge-ok 0"),
            ("queue.delete $1", "queue.delete-ok 0"),
            ("queue.declare $1", "queue.declare-ok $1 0 1"),
            ("queue.declare $1 durable exclusive x-max-length=-1", "queue.declare-ok $1 0 1"),
            (
                "queue.bind $1 amq.fanout ''",
                &format!("channel.close 403 ACCESS_REFUSED - {volatile} (50,20)"),
            ),
            ("queue.bind $1 '' ''", &format!("channel.close 403 ACCESS_REFUSED - {volatile} (50,20)")),
            (
                "queue.unbind $1 amq.fanout ''",
                &format!("channel.close 403 ACCESS_REFUSED - {volatile} (50,50)"),
            ),
        ] {
            check_asked(&format!(
                "
                {open}
                {by}> {channel} {said}
                {by}< {channel} {answer}
                h> 1 basic.publish '' $1 answer mandatory
                < 1 basic.deliver t 1 '' $1 answer
                "
            ));
        }
    }
    check_asked(
        "
        b> 1 basic.get $1
        b< 0 connection.close 540 NOT_IMPLEMENTED - basic.get not supported by volatile queue '$1' in vhost '/' (60,70)
        h> 1 basic.publish '' $1 answer mandatory
        < 1 basic.deliver t 1 '' $1 answer
        ",
    );
}

#[test]
fn names_that_were_never_given_are_not_found() {
    let name = "amq.rabbitmq.reply-to.nobody";
    let missing = format!("channel.close 404 NOT_FOUND - no queue '{name}' in vhost '/'");
    for (said, answer) in [
        (format!("queue.declare {name}"), format!("{missing} (50,10)")),
        (format!("queue.purge {name}"), format!("{missing} (50,30)")),
        (format!("basic.get {name}"), format!("{missing} (60,70)")),
        (format!("queue.delete {name}"), "queue.delete-ok 0".to_owned()),
        (
            "queue.declare amq.rabbitmq.reply-to passive".to_owned(),
            "queue.declare-ok amq.rabbitmq.reply-to 0 1".to_owned(),
        ),
    ] {
        check(&format!("> 1 {said}\n< 1 {answer}"));
    }
}

#[test]
fn what_is_wrong_with_a_question_is_said_in_order() {
    let asks = "reply-to=amq.rabbitmq.reply-to";
    for (said, refusal) in [
        (format!("nowhere q x {asks}"), "404 NOT_FOUND - no exchange 'nowhere' in vhost '/'"),
        (
            format!("'' q x {asks} expiration=x CC=5"),
            "406 PRECONDITION_FAILED - fast reply consumer does not exist",
        ),
    ] {
        check(&format!("> 1 basic.publish {said}\n< 1 channel.close {refusal} (60,40)"));
    }
}

#[test]
fn replies_wait_for_their_transaction() {
    check_asked(
        "
        b> 1 tx.select
        b< 1 tx.select-ok
        b> 1 basic.publish '' $1 answer
        b> 1 tx.commit
        b< 1 tx.commit-ok
        < 1 basic.deliver t 1 '' $1 answer
        ",
    );
}

#[test]
fn a_dead_letter_may_be_a_reply() {
    let death = "x-death=[1] x-first-death-exchange= x-first-death-queue=r x-first-death-reason=rejected \
                 x-last-death-exchange= x-last-death-queue=r x-last-death-reason=rejected";
    check_asked(&format!(
        "
        b> 1 queue.declare r x-dead-letter-exchange= x-dead-letter-routing-key=$1
        b< 1 queue.declare-ok r 0 0
        b> 1 basic.publish '' r work
        b> 1 basic.get r
        b< 1 basic.get-ok 2 '' r 0 work
        b> 1 basic.reject 2
        < 1 basic.deliver t 1 '' $1 {death} work
        "
    ));
}

#[test]
fn nothing_of_it_is_counted_as_a_queue_or_reaches_the_log() {
    let mut world = World::new(Pieces::Whole, BrokerSettings::default());
    play(&mut world, ASKED);
    let before = world.broker.gauges();
    let _so_far = world.log.take_gated();
    assert_eq!((before.queues, before.consumers, before.messages_ready), (1, 0, 0));
    world.client("a").deaf = true;
    let answers = encode(&world.replies.put_in("1 basic.publish '' $1 *1000 persistent")).repeat(100);
    for _ in 0..30 {
        world.say("b", &answers);
    }
    // What is more than the asker's window takes waits in memory.
    let after = world.broker.gauges();
    assert_eq!((after.queues, after.consumers, after.messages_ready), (1, 0, 0));
    assert!(after.resident > 500_000, "{} bytes", after.resident);
    assert!(world.log.take_gated().is_empty());

    world.client("a").deaf = false;
    world.settle();
    assert_eq!(world.heard("a").len(), 3_000, "every reply arrives in the end");
    world.client("a").deaf = true;
    world.say("b", &answers.repeat(20));
    play(&mut world, "! lost a");
    assert_eq!(world.broker.gauges().resident, 0, "replies go with the one who asked");
    assert!(world.log.take_gated().is_empty());
}

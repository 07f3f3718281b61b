//! Who may do what: refusals as RabbitMQ words them, and what becomes of connections when
//! permissions change.

use crate::session::script::{check, check_whole};

/// `b` is a user who may configure what begins with c, write to what begins with w, and read from
/// what begins with r. There is a queue and an exchange for each right, and `q` and `x` for none.
const HOUSE: &str = "
    > 1 queue.declare q
    < 1 queue.declare-ok q 0 0
    > 1 queue.declare cq
    < 1 queue.declare-ok cq 0 0
    > 1 queue.declare wq
    < 1 queue.declare-ok wq 0 0
    > 1 queue.declare rq
    < 1 queue.declare-ok rq 0 0
    > 1 exchange.declare x topic
    < 1 exchange.declare-ok
    > 1 exchange.declare wx topic
    < 1 exchange.declare-ok
    > 1 exchange.declare rx topic
    < 1 exchange.declare-ok
    ! user add bob secret
    ! user may bob ^c ^w ^r
    ! log in b bob secret
    ";

/// `b` says this and is refused, with this text after the code's name.
#[track_caller]
fn refused(said: &str, text: &str, ids: &str) {
    check(&format!("{HOUSE}\n b> 1 {said}\n b< 1 channel.close 403 ACCESS_REFUSED - {text} {ids}"));
}

/// `b` says this and lacks this access.
#[track_caller]
fn lacks(said: &str, right: &str, on: &str, ids: &str) {
    refused(said, &format!("{right} access to {on} in vhost '/' refused for user 'bob'"), ids);
}

/// `b` says this and is answered that.
#[track_caller]
fn answered(said: &str, answer: &str) {
    check(&format!("{HOUSE}\n b> 1 {said}\n b< 1 {answer}"));
}

#[test]
fn queues_are_declared_and_deleted_by_those_who_may_configure_them() {
    lacks("queue.declare q", "configure", "queue 'q'", "(50,10)");
    lacks("queue.declare new", "configure", "queue 'new'", "(50,10)");
    lacks("queue.delete q", "configure", "queue 'q'", "(50,40)");
    lacks("queue.delete none", "configure", "queue 'none'", "(50,40)");
    refused("queue.declare amq.q", "queue name 'amq.q' contains reserved prefix 'amq.*'", "(50,10)");
    answered("queue.declare cq", "queue.declare-ok cq 0 0");
    answered("queue.declare c2", "queue.declare-ok c2 0 0");
    answered("queue.delete cq", "queue.delete-ok 0");
}

#[test]
fn names_of_the_brokers_own_are_configured_like_others() {
    check_whole(&format!(
        "{HOUSE}
        ! user may bob ^amq\\.gen- '' ''
        b> 1 queue.declare '' nowait
        b> 1 basic.qos 1
        b< 1 basic.qos-ok
        "
    ));
}

#[test]
fn who_may_do_anything_with_it_may_ask_for_it() {
    for (name, ids) in [("q", "(50,10)"), ("none", "(50,10)")] {
        lacks(&format!("queue.declare {name} passive"), "configure", &format!("queue '{name}'"), ids);
    }
    lacks("exchange.declare x topic passive", "configure", "exchange 'x'", "(40,10)");
    for name in ["cq", "wq", "rq"] {
        answered(&format!("queue.declare {name} passive"), &format!("queue.declare-ok {name} 0 0"));
    }
    answered("exchange.declare rx topic passive", "exchange.declare-ok");
}

#[test]
fn dead_letters_may_be_sent_where_their_queues_maker_may_read_and_write() {
    lacks("queue.declare c2 x-dead-letter-exchange=wx", "read", "queue 'c2'", "(50,10)");
    check(&format!(
        "{HOUSE}
        ! user may bob ^c ^w ^(r|c)
        b> 1 queue.declare c2 x-dead-letter-exchange=x
        b< 1 channel.close 403 ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'bob' (50,10)
        b> 1 channel.close-ok
        b> 2 channel.open
        b> 2 queue.declare c3 x-dead-letter-exchange=wx
        b< 2 channel.open-ok
        b< 2 queue.declare-ok c3 0 0
        > 1 queue.declare c4 x-dead-letter-exchange=x
        < 1 queue.declare-ok c4 0 0
        b> 2 queue.declare c4 x-dead-letter-exchange=x
        b< 2 queue.declare-ok c4 0 0
        "
    ));
}

#[test]
fn exchanges_are_declared_and_deleted_by_those_who_may_configure_them() {
    lacks("exchange.declare x topic", "configure", "exchange 'x'", "(40,10)");
    lacks("exchange.declare amq.z topic", "configure", "exchange 'amq.z'", "(40,10)");
    lacks("exchange.delete x", "configure", "exchange 'x'", "(40,20)");
    lacks("exchange.declare c2 topic alternate-exchange=x", "read", "exchange 'c2'", "(40,10)");
    let system = "deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    refused("exchange.delete amq.direct", system, "(40,20)");
    answered("exchange.declare c2 topic", "exchange.declare-ok");
}

#[test]
fn to_bind_is_to_write_to_one_end_and_to_read_from_the_other() {
    lacks("queue.bind q rx k", "write", "queue 'q'", "(50,20)");
    lacks("queue.bind wq x k", "read", "exchange 'x'", "(50,20)");
    lacks("queue.unbind q rx k", "write", "queue 'q'", "(50,50)");
    lacks("queue.unbind wq x k", "read", "exchange 'x'", "(50,50)");
    lacks("exchange.bind x rx k", "write", "exchange 'x'", "(40,30)");
    lacks("exchange.bind wx x k", "read", "exchange 'x'", "(40,30)");
    lacks("exchange.unbind wx x k", "read", "exchange 'x'", "(40,40)");
    refused("queue.bind wq '' k", "operation not permitted on the default exchange", "(50,20)");
    answered("queue.bind wq rx k", "queue.bind-ok");
    answered("exchange.bind wx rx k", "exchange.bind-ok");
}

#[test]
fn messages_are_taken_by_those_who_may_read() {
    lacks("queue.purge q", "read", "queue 'q'", "(50,30)");
    lacks("basic.get q", "read", "queue 'q'", "(60,70)");
    lacks("basic.get none", "read", "queue 'none'", "(60,70)");
    lacks("basic.consume q t", "read", "queue 'q'", "(60,20)");
    answered("basic.get rq", "basic.get-empty");
    answered("basic.consume rq t", "basic.consume-ok t");
    answered("queue.purge rq", "queue.purge-ok 0");
}

#[test]
fn messages_are_published_by_those_who_may_write() {
    lacks("basic.publish '' q hello", "write", "exchange 'amq.default'", "(60,40)");
    lacks("basic.publish x q hello", "write", "exchange 'x'", "(60,40)");
    lacks("basic.publish none q hello", "write", "exchange 'none'", "(60,40)");
    lacks("basic.publish x q hello x-a=1", "write", "exchange 'x'", "(60,40)");
    check(&format!(
        "{HOUSE}
        b> 1 basic.publish w-none q hello
        b< 1 channel.close 404 NOT_FOUND - no exchange 'w-none' in vhost '/' (60,40)
        "
    ));
}

#[test]
fn keys_of_topic_exchanges_may_be_limited() {
    let fixture = "
        ! user keys bob wx ^{username}\\. ''
        ! user keys bob rx '' ^{username}\\.
        ";
    let no_key = |right: &str, key: &str, exchange: &str| {
        let on = format!("topic '{key}' in exchange '{exchange}' in vhost '/'");
        format!("b< 1 channel.close 403 ACCESS_REFUSED - {right} access to {on} refused for user 'bob'")
    };
    for (said, refusal) in [
        ("basic.publish wx alice.1 hello", no_key("write", "alice.1", "wx") + " (60,40)"),
        ("basic.publish wx bob.1 hello CC=[alice.2]", no_key("write", "alice.2", "wx") + " (60,40)"),
        ("queue.bind wq rx alice.#", no_key("read", "alice.#", "rx") + " (50,20)"),
        ("queue.unbind wq rx alice.#", no_key("read", "alice.#", "rx") + " (50,50)"),
        ("exchange.bind wx rx alice.#", no_key("read", "alice.#", "rx") + " (40,30)"),
    ] {
        check(&format!("{HOUSE}{fixture}\n b> 1 {said}\n {refusal}"));
    }
    check(&format!(
        "{HOUSE}{fixture}
        b> 1 queue.bind wq rx bob.#
        b< 1 queue.bind-ok
        b> 1 basic.publish wx bob.1 hello mandatory
        b< 1 basic.return 312 NO_ROUTE wx bob.1 hello
        ! user all-keys bob
        b> 1 basic.publish wx alice.1 hello mandatory
        b< 1 basic.return 312 NO_ROUTE wx alice.1 hello
        "
    ));
}

#[test]
fn a_permission_counts_from_the_next_operation_on() {
    check(&format!(
        "{HOUSE}
        b> 1 basic.publish wx k one mandatory
        b< 1 basic.return 312 NO_ROUTE wx k one
        b> 1 basic.publish wx k two mandatory
        b< 1 basic.return 312 NO_ROUTE wx k two
        ! user may bob ^c '' ^r
        b> 1 basic.publish wx k three mandatory
        b< 1 channel.close 403 ACCESS_REFUSED - write access to exchange 'wx' in vhost '/' refused for user 'bob' (60,40)
        b> 1 channel.close-ok
        b> 2 channel.open
        b< 2 channel.open-ok
        ! user may-nothing bob
        b> 2 basic.get rq
        b< 2 channel.close 403 ACCESS_REFUSED - read access to queue 'rq' in vhost '/' refused for user 'bob' (60,70)
        b> 2 channel.close-ok
        ! user may bob ^c ^w ^r
        b> 3 channel.open
        b> 3 basic.get rq
        b< 3 channel.open-ok
        b< 3 basic.get-empty
        > 1 basic.publish wx k four mandatory
        < 1 basic.return 312 NO_ROUTE wx k four
        "
    ));
}

#[test]
fn a_deleted_users_connections_are_closed() {
    check(&format!(
        "{HOUSE}
        b> 1 queue.declare c-own exclusive
        b< 1 queue.declare-ok c-own 0 0
        ! user delete bob
        b< 0 connection.close 320 CONNECTION_FORCED - user 'bob' is deleted (0,0)
        > 1 queue.declare c-own passive
        < 1 channel.close 404 NOT_FOUND - no queue 'c-own' in vhost '/' (50,10)
        b> 0 connection.close-ok
        ! closed b
        "
    ));
}

#[test]
fn a_user_who_comes_again_is_another_one() {
    check(&format!(
        "{HOUSE}
        ! user delete bob
        b< 0 connection.close 320 CONNECTION_FORCED - user 'bob' is deleted (0,0)
        ! user add bob secret
        ! user may bob ^c ^w ^r
        ! log in c bob secret
        c> 1 basic.get rq
        c< 1 basic.get-empty
        b> 1 basic.get rq
        "
    ));
}

#[test]
fn impersonators_may_send_in_anybodys_name() {
    check(&format!(
        "{HOUSE}
        b> 1 basic.publish wx k hello mandatory user-id=bob
        b< 1 basic.return 312 NO_ROUTE wx k hello
        ! user tags bob impersonator
        b> 1 basic.publish wx k hello mandatory user-id=alice
        b< 1 basic.return 312 NO_ROUTE wx k hello
        ! user tags bob
        b> 1 basic.publish wx k hello user-id=alice
        b< 1 channel.close 406 PRECONDITION_FAILED - user_id property set to 'alice' but authenticated user was 'bob' (60,40)
        "
    ));
}

#[test]
fn a_vhost_is_entered_with_a_permission() {
    let handshake = |refusal: &str| {
        format!(
            "
            ! accept h 10.0.0.1:1
            h> header
            h< 0 connection.start PLAIN AMQPLAIN en_US
            h> 0 connection.start-ok AMQPLAIN eve secret
            h< 0 connection.tune 2047 131072 60
            h> 0 connection.tune-ok 10 4096 0
            h> 0 connection.open /
            h< 0 {refusal}
            "
        )
    };
    let refusal = "connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'eve' (10,40)";
    check(&format!("! user add eve secret\n{}", handshake(refusal)));
    check(&format!("! user add eve secret\n! user may eve '' '' ''\n{}", handshake("connection.open-ok")));
}

#[test]
fn a_password_counts_from_the_next_login_on() {
    check(&format!(
        "{HOUSE}
        ! user password bob other
        b> 1 basic.get rq
        b< 1 basic.get-empty
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN bob secret authentication_failure_close
        h< 0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. (0,0)
        ! log in c bob other
        c> 1 basic.get rq
        c< 1 basic.get-empty
        "
    ));
}

#[test]
fn replies_need_no_permission_to_be_read() {
    answered("basic.consume amq.rabbitmq.reply-to t no-ack", "basic.consume-ok t");
}

#[test]
fn a_consumer_that_lost_its_permission_ends_with_the_next_secret() {
    check(&format!(
        "{HOUSE}
        b> 1 basic.consume rq c
        b< 1 basic.consume-ok c
        b> 1 basic.consume amq.rabbitmq.reply-to r no-ack
        b< 1 basic.consume-ok r
        b> 2 channel.open
        b< 2 channel.open-ok
        b> 2 basic.consume wq c no-ack
        b< 2 channel.close 403 ACCESS_REFUSED - read access to queue 'wq' in vhost '/' refused for user 'bob' (60,20)
        b> 2 channel.close-ok
        > 1 basic.publish '' rq one
        b< 1 basic.deliver c 1 '' rq one
        ! user may bob '' '' ^w
        > 1 basic.publish '' rq two
        b< 1 basic.deliver c 2 '' rq two
        b> 0 connection.update-secret secret
        b< 1 basic.cancel c
        b< 0 connection.update-secret-ok
        > 1 basic.publish '' rq three
        > 1 queue.declare rq passive
        < 1 queue.declare-ok rq 1 0
        b> 1 basic.ack 2 multiple
        b> 1 basic.nack 1
        b< 1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,120)
        "
    ));
}

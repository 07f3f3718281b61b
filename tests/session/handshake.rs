//! From the protocol header to the open connection, and what ends one.

use crate::session::script::{check, opening, play};
use crate::session::world::{Pieces, World};
use leveret::broker::BrokerSettings;
use std::fmt::Write;

const CAPABLE: &str = "authentication_failure_close";

#[test]
fn a_client_shakes_hands() {
    check(
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok AMQPLAIN guest guest
        h< 0 connection.tune 2047 131072 60
        h> 0 connection.tune-ok 10 4096 0
        h> 0 connection.open /
        h< 0 connection.open-ok
        h> 0 heartbeat
        h> 10 channel.open
        h< 10 channel.open-ok
        h> 0 connection.update-secret guest
        h< 0 connection.update-secret-ok
        h> 0 connection.close
        h< 0 connection.close-ok
        ! closed h
        ",
    );
}

#[test]
fn a_client_of_0_9_is_taken_for_one_of_0_9_1() {
    check(
        "
        ! accept h
        h> hex 414d515001010009
        h< 0 connection.start PLAIN AMQPLAIN en_US
        ",
    );
}

#[test]
fn other_protocols_are_shown_ours() {
    for greeting in ["bytes AMQP0123", "bytes GET", "hex 160301", "hex 414d515003010000"] {
        check(&format!(
            "
            ! accept h
            h> {greeting}
            h< header
            ! closed h
            "
        ));
    }
}

#[test]
fn a_wrong_login_is_refused() {
    for (address, login) in [
        ("127.0.0.1:1", "PLAIN guest wrong"),
        ("127.0.0.1:1", "PLAIN nobody guest"),
        ("127.0.0.1:1", "AMQPLAIN guest wrong"),
        ("10.0.0.1:1", "PLAIN guest guest"),
        ("[2001:db8::1]:1", "PLAIN guest guest"),
    ] {
        let mechanism = login.split(' ').next().unwrap();
        check(&format!(
            "
            ! accept h {address}
            h> header
            h< 0 connection.start PLAIN AMQPLAIN en_US
            h> 0 connection.start-ok {login} {CAPABLE}
            h< 0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the broker logfile. (0,0)
            ! open h
            h> 0 connection.close-ok
            ! closed h
            "
        ));
    }
}

/// One attempt after another is no way to a password, from whatever port.
#[test]
fn whoever_guesses_passwords_waits_for_the_answer() {
    let refusal = "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism \
                   PLAIN. For details see the broker logfile. (0,0)";
    let mut script = String::new();
    for (name, port, told) in [("d", 1, true), ("e", 2, true), ("f", 3, true), ("g", 4, false)] {
        let _always = write!(
            script,
            "
            ! accept {name} 10.0.0.1:{port}
            {name}> header
            {name}< 0 connection.start PLAIN AMQPLAIN en_US
            {name}> 0 connection.start-ok PLAIN nobody wrong {CAPABLE}
            {}
            ",
            if told { format!("{name}< {refusal}") } else { String::new() }
        );
    }
    check(&format!(
        "
        {script}
        ! user add ann secret
        ! user may ann .* .* .*
        ! wait 99
        ! open g
        ! reads g
        g> 0 connection.close
        ! accept n 10.0.0.2:1
        n> header
        n< 0 connection.start PLAIN AMQPLAIN en_US
        n> 0 connection.start-ok PLAIN ann secret
        n< 0 connection.tune 2047 131072 60
        ! accept s 10.0.0.1:5
        s> header
        s< 0 connection.start PLAIN AMQPLAIN en_US
        s> 0 connection.start-ok PLAIN ann secret
        s< 0 connection.tune 2047 131072 60
        ! wait 1
        g< {refusal}
        g> 0 connection.close-ok
        ! closed g
        ! accept k 10.0.0.1:6
        k> header
        k< 0 connection.start PLAIN AMQPLAIN en_US
        k> 0 connection.start-ok PLAIN ann wrong {CAPABLE}
        ! shutdown k
        ! closed k
        "
    ));
}

#[test]
fn a_certificate_is_a_login() {
    check(
        "
        ! accept h 127.0.0.1:1 guest
        h> header
        h< 0 connection.start PLAIN AMQPLAIN EXTERNAL en_US
        h> 0 connection.start-ok EXTERNAL
        h< 0 connection.tune 2047 131072 60
        ! accept p 127.0.0.1:1 nobody
        p> header
        p< 0 connection.start PLAIN AMQPLAIN EXTERNAL en_US
        p> 0 connection.start-ok PLAIN guest guest
        p< 0 connection.tune 2047 131072 60
        ! accept x
        x> header
        x< 0 connection.start PLAIN AMQPLAIN en_US
        x> 0 connection.start-ok EXTERNAL guest
        x< 0 connection.close 503 COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL' (10,11)
        ",
    );
    for (address, user) in [("127.0.0.1:1", "nobody"), ("127.0.0.1:1", "CN=guest"), ("10.0.0.1:1", "guest")] {
        check(&format!(
            "
            ! accept h {address} {user}
            h> header
            h< 0 connection.start PLAIN AMQPLAIN EXTERNAL en_US
            h> 0 connection.start-ok EXTERNAL guest guest {CAPABLE}
            h< 0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile. (0,0)
            "
        ));
    }
}

#[test]
fn a_client_without_a_name_is_whom_the_operator_names() {
    check(
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok ANONYMOUS
        h< 0 connection.close 503 COMMAND_INVALID - unknown authentication mechanism 'ANONYMOUS' (10,11)
        ",
    );
    let named = |user: &str, script: &str| {
        let anonymous_user = Some(user.to_owned());
        let settings = BrokerSettings { anonymous_user, ..BrokerSettings::default() };
        play(&mut World::new(Pieces::Whole, settings), script);
    };
    // What the client responds is not looked at.
    named(
        "guest",
        "
        ! accept h 127.0.0.1:1
        h> header
        h< 0 connection.start PLAIN AMQPLAIN ANONYMOUS en_US
        h> 0 connection.start-ok ANONYMOUS who ever
        h< 0 connection.tune 2047 131072 60
        ",
    );
    // Where the user may come from is.
    for (user, address) in [("guest", "10.0.0.1:1"), ("nobody", "127.0.0.1:1")] {
        let script = format!(
            "
            ! accept h {address}
            h> header
            h< 0 connection.start PLAIN AMQPLAIN ANONYMOUS en_US
            h> 0 connection.start-ok ANONYMOUS who ever {CAPABLE}
            h< 0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism ANONYMOUS. For details see the broker logfile. (0,0)
            "
        );
        named(user, &script);
    }
}

#[test]
fn any_new_secret_is_taken() {
    let open = "
        h> 0 connection.tune-ok 10 4096 0
        h> 0 connection.open /
        h< 0 connection.tune 2047 131072 60
        h< 0 connection.open-ok
        ";
    for secret in ["guest", "wrong", "''", "guest2"] {
        check(&format!(
            "
            ! accept h
            h> header
            h< 0 connection.start PLAIN AMQPLAIN en_US
            h> 0 connection.start-ok PLAIN guest guest
            {open}
            h> 0 connection.update-secret {secret}
            h< 0 connection.update-secret-ok
            h> 1 channel.open
            h< 1 channel.open-ok
            "
        ));
    }
    check(&format!(
        "
        ! accept h 127.0.0.1:1 guest
        h> header
        h< 0 connection.start PLAIN AMQPLAIN EXTERNAL en_US
        h> 0 connection.start-ok EXTERNAL
        {open}
        h> 0 connection.update-secret anything
        h< 0 connection.update-secret-ok
        "
    ));
}

#[test]
fn an_old_client_is_refused_in_silence() {
    check(
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN guest wrong
        h> 0 connection.start-ok PLAIN guest guest
        ! wait 2999
        ! open h
        ! wait 1
        ! closed h
        ",
    );
}

#[test]
fn loopback_is_local_in_both_families() {
    for address in ["[::1]:1", "[::ffff:127.0.0.1]:1", "127.1.2.3:1"] {
        check(&format!(
            "
            ! accept h {address}
            h> header
            h< 0 connection.start PLAIN AMQPLAIN en_US
            h> 0 connection.start-ok PLAIN guest guest
            h< 0 connection.tune 2047 131072 60
            "
        ));
    }
}

#[test]
fn a_handshake_out_of_order_is_refused() {
    let start = "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        ";
    let tuned = "
        h> 0 connection.start-ok PLAIN guest guest
        h< 0 connection.tune 2047 131072 60
        ";
    for (before, said, refusal) in [
        (
            "",
            "0 connection.open /",
            "504 CHANNEL_ERROR - unexpected method in connection state starting (10,40)",
        ),
        (
            "",
            "0 queue.declare q",
            "504 CHANNEL_ERROR - unexpected method in connection state starting (50,10)",
        ),
        (
            "",
            "0 connection.start-ok KERBEROS a b",
            "503 COMMAND_INVALID - unknown authentication mechanism 'KERBEROS' (10,11)",
        ),
        (
            "",
            "1 channel.open",
            "505 UNEXPECTED_FRAME - unexpected frame of type 1 on channel 1 in the handshake (0,0)",
        ),
        (
            tuned,
            "0 connection.open /",
            "504 CHANNEL_ERROR - unexpected method in connection state tuning (10,40)",
        ),
        (
            tuned,
            "0 connection.tune-ok 0 131072 0",
            "530 NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047) (10,31)",
        ),
        (
            tuned,
            "0 connection.tune-ok 2047 4095 0",
            "530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096) (10,31)",
        ),
        (
            tuned,
            "0 connection.tune-ok 2047 131073 0",
            "530 NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072) (10,31)",
        ),
    ] {
        check(&format!("{start}{before}\nh> {said}\nh< 0 connection.close {refusal}"));
    }
    check(&format!(
        "
        {start}{tuned}
        h> 0 connection.tune-ok 2047 131072 0
        h> 0 connection.open nowhere
        h< 0 connection.close 530 NOT_ALLOWED - vhost nowhere not found (10,40)
        h> 0 connection.close
        h< 0 connection.close-ok
        ! closed h
        "
    ));
}

#[test]
fn a_handshake_does_not_take_for_ever() {
    check(
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        ! wait 9999
        ! open h
        ! wait 1
        ! closed h
        ",
    );
}

#[test]
fn heartbeats_go_both_ways() {
    check(&format!(
        "
        {}
        ! wait 4999
        ! wait 1
        h< 0 heartbeat
        h> 0 heartbeat
        ! wait 5000
        h< 0 heartbeat
        ! wait 5000
        h< 0 heartbeat
        ! wait 5000
        h< 0 heartbeat
        ! open h
        ! wait 5000
        ! closed h
        ",
        opening("2047 131072 10")
    ));
}

#[test]
fn the_operator_ends_connections() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        ! shutdown a
        < 0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0,0)
        > 1 queue.declare ignored
        ! open a
        > 0 connection.close-ok
        ! closed a
        b> 1 queue.declare ignored passive
        b< 1 channel.close 404 NOT_FOUND - no queue 'ignored' in vhost '/' (50,10)
        ",
    );
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left() {
    check(
        "
        > 1 queue.declare q
        < 1 queue.declare-ok q 0 0
        ! shutdown a
        < 0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0,0)
        ! wait 29999
        ! open a
        ! wait 1
        ! closed a
        ",
    );
}

/// RabbitMQ waits for three seconds (`SILENT_CLOSE_DELAY`), whether the client answers or not.
#[test]
fn a_stranger_that_does_not_answer_a_close_is_left_soon() {
    for (said, refusal) in [
        (
            "0 connection.start-ok PLAIN guest wrong authentication_failure_close",
            "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. (0,0)",
        ),
        ("0 connection.open /", "504 CHANNEL_ERROR - unexpected method in connection state starting (10,40)"),
    ] {
        check(&format!(
            "
            ! accept h
            h> header
            h< 0 connection.start PLAIN AMQPLAIN en_US
            h> {said}
            h< 0 connection.close {refusal}
            ! wait 2999
            ! open h
            ! wait 1
            ! closed h
            "
        ));
    }
}

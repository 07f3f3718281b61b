//! Every kind of bad script is refused with its line and the reason, before anything is sent.

use conformance::script::read;
use std::path::Path;

/// The head that the bodies below get; their first line is line 3.
const HEAD: &str = "title: t\nsource: s\n";

/// That the script is refused in `line` for a reason that contains `reason`.
#[track_caller]
fn check(text: &str, line: usize, reason: &str) {
    match read(Path::new("scripts/x/y.amqp"), "x/y", text) {
        Ok(_) => panic!("this script was accepted:\n{text}"),
        Err(refusal) => {
            assert!(
                refusal.line == line && refusal.reason.contains(reason),
                "{refusal}\n  (expected line {line}, '{reason}')\n{text}"
            );
            assert!(refusal.to_string().starts_with(&format!("scripts/x/y.amqp:{line}: ")));
        }
    }
}

/// As [`check`], with the head before `body`.
#[track_caller]
fn body(body: &str, line: usize, reason: &str) {
    check(&format!("{HEAD}{body}\n"), line, reason);
}

#[test]
fn a_head_says_title_and_source_and_nothing_unknown() {
    check("source: s\nopen a\n", 1, "no 'title:'");
    check("title: t\nopen a\n", 1, "no 'source:'");
    check("title: t\ntitle: u\nsource: s\nopen a\n", 2, "twice");
    check("title: t\nsource:\nopen a\n", 2, "says nothing");
    check("title: t\nsauce: s\nopen a\n", 2, "'sauce:' is not one of");
    check("title: t\nsource: s\nneeds: wings\nopen a\n", 3, "'wings' is not one of");
    check("title: t\nsource: s\n", 3, "does nothing");
}

#[test]
fn names_of_methods_and_fields_exist() {
    body("open a.1\na.1 > queue.decalre queue=\"q\"", 4, "no method 'queue.decalre'; is it queue.declare?");
    body("open a.1\na.1 < hare.run", 4, "no method 'hare.run'");
    body("open a.1\na.1 > queue.declare quue=\"q\"", 4, "no field 'quue'; is it queue?");
    body("open a.1\na.1 > queue.declare priority=1", 4, "no field 'priority'");
    body("open a.1\na.1 > method basic.publish body=\"x\"", 4, "no field 'body'");
    body("open a.1\na.1 > queue.declare\n\n  queue=\"q\" wings=1", 6, "no field 'wings'");
    body("open a speed=1", 3, "no field 'speed'");
    body("jump a.1", 3, "'jump' is not a step");
    body("open a.1\na.1 > queue.bind arguments={a: hare}", 4, "'hare' is not a value");
}

#[test]
fn values_are_of_the_type_and_range_of_their_field() {
    body("open a.1\na.1 > basic.qos prefetch-count=\"x\"", 4, "wants an integer, this is a text");
    body("open a.1\na.1 > basic.qos prefetch-count=65536", 4, "cannot hold 65536");
    body("open a.1\na.1 > basic.qos prefetch-count=0-1", 4, "cannot hold -1");
    body("open a.1\na.1 > basic.qos prefetch-count=1u", 4, "has a type of its own");
    body("open a.1\na.1 > queue.declare durable=1", 4, "wants true or false");
    body("open a.1\na.1 > queue.declare queue=1", 4, "wants a text");
    body("open a.1\na.1 > queue.declare queue=fill(256)", 4, "255 bytes, not 256");
    body("open a.1\na.1 > queue.declare arguments=\"x\"", 4, "wants a table");
    body("open a.1\na.1 > queue.declare queue", 4, "wants a value");
    body("open a.1\na.1 > queue.declare arguments={a: 200b}", 4, "does not fit into type b");
    body("open a.1\na.1 > queue.declare arguments={a: 1Q}", 4, "a type that does not exist");
    body("open a.1\na.1 > queue.declare queue=\"a\" queue=\"b\"", 4, "twice");
    body("open a.1\na > raw 012", 4, "even number of hexadecimal digits");
    body("open a.1\na > raw u8(256)", 4, "cannot hold 256");
    body("open a.1\na.1 < basic.ack delivery-tag=\"x\"", 4, "wants an integer");
    body("open a.1\na.1 < basic.ack delivery-tag~\"*\"", 4, "a field that is a text");
    body("open a.1\na.1 < queue.declare-ok queue>=\"q\"", 4, "a field that is an integer");
    body("open a.1\na.1 < queue.declare-ok queue=none", 4, "cannot be none");
    body("open a.1\na.1 > queue.declare queue=\"open", 4, "no closing quote");
}

#[test]
fn what_is_for_expectations_is_not_sent() {
    body("open a.1\na.1 > queue.declare queue=_", 4, "'_' is for what is expected");
    body("open a.1\na.1 > queue.declare queue~\"x*\"", 4, "is for what is expected");
    body("open a.1\na.1 > queue.declare arguments={a: 1I, ...}", 4, "'...'");
    body("open a.1\na.1 > basic.publish priority=none", 4, "cannot be none");
    body("open a.1\na.1 > queue.declare arguments={a: none}", 4, "'none' is for what must not come");
    body("open a.1\na.1 > queue.declare arguments=ordered {a: 1I}", 4, "sent in the order it is written in");
    body("let t = ordered {a: 1I}", 3, "'ordered' is for what is expected");
    body("open a\na > raw table({a: _})", 4, "'_' is for what is expected");
    body("open a\na > raw table({a: 1I, ...})", 4, "'...'");
    body("open a.1\nwithin 1s a.1 > queue.declare", 4, "'within' is for what is expected");
}

#[test]
fn tables_of_what_is_expected_can_be_met() {
    body(
        "open a.1\na.1 < basic.deliver headers={a: 1I, a: none}",
        4,
        "'a' must not come, and is there twice",
    );
    body("open a.1\na.1 < basic.deliver headers={a: none, b: {a: none, a: none, ...}}", 4, "is there twice");
    body("open a.1\na.1 < basic.deliver headers={a: [none]}", 4, "'none' is for what must not come");
    body("open a.1\na.1 < basic.deliver headers={a: 1I, ..., b: 2I}", 4, "'}' expected");
    body("open a.1\na.1 < basic.deliver headers=ordered [1I]", 4, "'{' expected");
    let long = format!("open a.1\na.1 < basic.deliver headers={{{}: 1I}}", "k".repeat(256));
    body(&long, 4, "a key holds 255 bytes, not 256");
}

#[test]
fn parts_of_bytes_are_sound() {
    body("open a\na > raw table(1)", 4, "table wants a table, this is an integer");
    body("open a\na > raw table($t)", 4, "$t has no value");
    body("open a\na > raw sized(01 u8(256))", 4, "u8 cannot hold 256");
    body("open a\na > raw sized8(00 fill(250) \"hares\")", 4, "sized8 holds 255 bytes, not 256");
    body("open a\na > raw sized(sized8(fill(200) sized8(fill(55))))", 4, "not 256");
    body("open a.1\na.1 > frame payload=bytes(sized16(00))", 4, "'sized16' is not an even number");
    body("open a\na > raw sized(00", 5, "bytes expected");
    body("open a\na < raw sized(table(\"x\"))", 4, "table wants a table, this is a text");
}

#[test]
fn a_time_without_heartbeats_is_that_of_a_connection() {
    body("open a\nno-heartbeat b 1s", 4, "connection 'b' was never opened");
    body("open a.1\nno-heartbeat a.1 1s", 4, "a connection is named here");
    body("open a\nno-heartbeat a", 4, "a time such as 100ms or 2s expected");
    body("open a\nno-heartbeat a soon", 4, "'soon' is no time");
    body("open no-heartbeat", 3, "cannot name a connection");
    body("open a\nany-order {\n  no-heartbeat a 1s\n}", 5, "expectations only");
}

#[test]
fn variables_have_a_value_before_they_are_used() {
    body("open a.1\na.1 > queue.declare queue=$q", 4, "$q has no value");
    body("open a.1\na.1 > queue.declare queue=\"a $q\"", 4, "$q has no value");
    body("open a.1\na.1 > queue.declare arguments={x: [$q]}", 4, "$q has no value");
    body("open a.1\na.1 < basic.ack delivery-tag=$n+1", 4, "$n has no value");
    body("open a.1\na.1 < acks 1..$n", 4, "$n has no value");
    body(
        "open a.1\na.1 < queue.declare-ok queue=$q\na.1 > basic.qos prefetch-count=$q",
        5,
        "wants an integer, this is a text",
    );
    body(
        "open a.1\none-of {\n  a.1 < queue.declare-ok queue=$q\n  a.1 < basic.cancel-ok\n}\n\
         a.1 > queue.purge queue=$q",
        8,
        "$q has no value",
    );
}

#[test]
fn connections_and_channels_are_opened_before_they_are_used() {
    body("a.1 > queue.declare", 3, "connection 'a' was never opened");
    body("open a\na.1 > queue.declare", 4, "channel a.1 was never opened");
    body("open a.1\na.2 < queue.declare-ok", 4, "channel a.2 was never opened");
    body("open a.1\nnothing b", 4, "connection 'b' was never opened");
    body("open a.1\na > queue.declare", 4, "wants a channel");
    body("open a.1\na.1 < connection.close", 4, "belongs to channel 0");
    body("open a.70000", 3, "no channel");
    body("open repeat", 3, "cannot name a connection");
}

#[test]
fn blocks_are_closed_and_hold_what_belongs_there() {
    body("open a.1\nany-order {\n  a.1 < basic.ack", 4, "never closed");
    body("open a.1\n}", 4, "closes no block");
    body("open a.1\nrepeat 2 {\n}", 4, "empty");
    body("open a.1\nany-order {\n  a.1 > basic.ack\n}", 5, "expectations only");
    body("open a.1\nany-order {\n  a.1 < eof\n}", 5, "a group holds methods and acks");
    body("open a.1\notherwise {\n  sync a.1\n}", 4, "follows a 'when'");
    body("open a.1 open b.1", 3, "no field 'open'");
    body("open a.1\nsync a.1 b.1", 4, "should end here");
    body("wait soon", 3, "no time");
    body("open a.1\npause b", 4, "connection 'b' was never opened");
    body("open a.1\nresume a.1", 4, "a connection is named here");
    body("unique q(10)", 3, "has 21 to 255 bytes, not 10");
    body("unique q(256)", 3, "not 256");
    body("unique q(x)", 3, "no length");
}

#[test]
fn what_differs_has_its_block_and_a_block_its_reason() {
    let differs = "title: t\nsource: s\ndiffers: rabbitmq 4.3 does so; we do not\n";
    check(&format!("{differs}open a\n"), 1, "no block 'when rabbitmq");
    body("open a.1\nwhen rabbitmq {\n  sync a.1\n}", 4, "wants 'differs: rabbitmq");
    check(
        "title: t\nsource: s\ndiffers: rabbitmq does so\nopen a\n",
        3,
        "a broker, its version and a reason",
    );
    check(&format!("{differs}open a.1\nwhen rabbitmq new {{\n  sync a.1\n}}\n"), 5, "'new' is no version");
    let sound =
        format!("{differs}open a.1\nwhen rabbitmq {{\n  sync a.1\n}} otherwise {{\n  nothing a.1\n}}\n");
    assert!(read(Path::new("x"), "x/y", &sound).is_ok());
}

/// That a script with these definitions, which begin in line 3, is refused.
#[track_caller]
fn defined(definitions: &str, body: &str, line: usize, reason: &str) {
    check(&format!("{HEAD}definitions: {definitions}\n{body}\n"), line, reason);
}

#[test]
fn definitions_are_a_document_whose_names_are_defined_and_used() {
    let users = "{\n  \"users\": [{\"name\": \"$u\"}]";
    defined("{\n  \"users\": [,]\n  }", "open a", 4, "is no JSON object: expected value");
    defined("[]", "open a", 3, "is no JSON object");
    defined("{}\ndefinitions: {}", "open a", 4, "twice");
    defined("{\n  \"hares\": []}", "open a", 4, "the section 'hares' is not one of users, vhosts");
    defined("{\n  \"users\": {}}", "open a", 4, "the section 'users' is not an array of objects");
    defined("{\n  \"users\": [1]}", "open a", 4, "not an array of objects");
    defined(&format!("{users}}}"), "open a", 3, "$u is defined here and never used");
    defined(&format!("{users}}}"), "# not by $u\nopen a", 3, "$u is defined here and never used");
    let permission = "\"permissions\": [{\"user\": \"$v\", \"vhost\": \"$vhost\"}]";
    defined(
        &format!("{users},\n  {permission}}}"),
        "open a user=$u",
        5,
        "$v is the user of something, and not among 'users'",
    );
    let policy = "{\n  \"policies\": [{\"name\": \"$p\", \"vhost\": \"$w\"}]}";
    defined(policy, "open a vhost=$w", 4, "$w is the vhost of something");
    defined(&format!("{users}}}"), "open a user=$v", 5, "$v has no value here");
    defined(&format!("{users}}}"), "unique u\nopen a user=$u", 5, "$u has its value from 'definitions:'");
}

#[test]
fn an_operator_is_told_a_command() {
    body("open a\noperator", 4, "'operator' wants a command");
    body("open a\noperator delete_user $u", 4, "$u has no value here");
    body("open a\nlet n = 1\noperator delete_user $n", 5, "a command wants a text, this is an integer");
    body("open a\noperator delete_user {}", 4, "a word of a command expected");
}

#[test]
fn after_a_restart_everything_is_opened_anew() {
    body("open a\nrestart softly", 4, "'restart' is alone, or followed by 'stop' or 'kill'");
    body("open a.1\nrestart kill\nsync a.1", 5, "connection 'a' was never opened");
    body("open a.1\nrestart\nopen a\nsync a.1", 6, "channel a.1 was never opened");
}

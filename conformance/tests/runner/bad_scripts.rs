//! Every kind of bad script is refused with its line and the reason, before anything is sent.

use conformance::script::read;
use std::path::Path;

/// The head that the bodies below get; their first line is line 4.
const HEAD: &str = "title: t\nsource: s\nlevel: rabbitmq\n";

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
fn a_head_says_title_source_and_level_and_nothing_unknown() {
    check("source: s\nlevel: rabbitmq\nopen a\n", 1, "no 'title:'");
    check("title: t\nlevel: rabbitmq\nopen a\n", 1, "no 'source:'");
    check("title: t\nsource: s\nopen a\n", 1, "no 'level:'");
    check("title: t\nsource: s\nlevel: strict\nopen a\n", 3, "'strict' is no level");
    check("title: t\nsource: s\nlevel: specification\nopen a\n", 3, "wants a comma and what it is about");
    check(&format!("{HEAD}level: rabbitmq\nopen a\n"), 4, "'level:' is there twice");
    check("title: t\ntitle: u\nsource: s\nopen a\n", 2, "twice");
    check("title: t\nsource:\nopen a\n", 2, "says nothing");
    check("title: t\nsauce: s\nopen a\n", 2, "'sauce:' is not one of");
    check("title: t\nsource: s\nneeds: wings\nopen a\n", 3, "'wings' is not one of");
    check(HEAD, 4, "does nothing");
}

#[test]
fn names_of_methods_and_fields_exist() {
    body("open a.1\na.1 > queue.decalre queue=\"q\"", 5, "no method 'queue.decalre'; is it queue.declare?");
    body("open a.1\na.1 < hare.run", 5, "no method 'hare.run'");
    body("open a.1\na.1 > queue.declare quue=\"q\"", 5, "no field 'quue'; is it queue?");
    body("open a.1\na.1 > queue.declare priority=1", 5, "no field 'priority'");
    body("open a.1\na.1 > method basic.publish body=\"x\"", 5, "no field 'body'");
    body("open a.1\na.1 > queue.declare\n\n  queue=\"q\" wings=1", 7, "no field 'wings'");
    body("open a speed=1", 4, "no field 'speed'");
    body("jump a.1", 4, "'jump' is not a step");
    body("open a.1\na.1 > queue.bind arguments={a: hare}", 5, "'hare' is not a value");
}

#[test]
fn values_are_of_the_type_and_range_of_their_field() {
    body("open a.1\na.1 > basic.qos prefetch-count=\"x\"", 5, "wants an integer, this is a text");
    body("open a.1\na.1 > basic.qos prefetch-count=65536", 5, "cannot hold 65536");
    body("open a.1\na.1 > basic.qos prefetch-count=0-1", 5, "cannot hold -1");
    body("open a.1\na.1 > basic.qos prefetch-count=1u", 5, "has a type of its own");
    body("open a.1\na.1 > queue.declare durable=1", 5, "wants true or false");
    body("open a.1\na.1 > queue.declare queue=1", 5, "wants a text");
    body("open a.1\na.1 > queue.declare queue=fill(256)", 5, "255 bytes, not 256");
    body("open a.1\na.1 > queue.declare arguments=\"x\"", 5, "wants a table");
    body("open a.1\na.1 > queue.declare queue", 5, "wants a value");
    body("open a.1\na.1 > queue.declare arguments={a: 200b}", 5, "does not fit into type b");
    body("open a.1\na.1 > queue.declare arguments={a: 1Q}", 5, "a type that does not exist");
    body("open a.1\na.1 > queue.declare queue=\"a\" queue=\"b\"", 5, "twice");
    body("open a.1\na > raw 012", 5, "even number of hexadecimal digits");
    body("open a.1\na > raw u8(256)", 5, "cannot hold 256");
    body("open a.1\na.1 < basic.ack delivery-tag=\"x\"", 5, "wants an integer");
    body("open a.1\na.1 < basic.ack delivery-tag~\"*\"", 5, "a field that is a text");
    body("open a.1\na.1 < queue.declare-ok queue>=\"q\"", 5, "a field that is an integer");
    body("open a.1\na.1 < queue.declare-ok queue=none", 5, "cannot be none");
    body("open a.1\na.1 > queue.declare queue=\"open", 5, "no closing quote");
}

#[test]
fn what_is_for_expectations_is_not_sent() {
    body("open a.1\na.1 > queue.declare queue=_", 5, "'_' is for what is expected");
    body("open a.1\na.1 > queue.declare queue~\"x*\"", 5, "is for what is expected");
    body("open a.1\na.1 > queue.declare arguments={a: 1I, ...}", 5, "'...'");
    body("open a.1\na.1 > basic.publish priority=none", 5, "cannot be none");
    body("open a.1\na.1 > queue.declare arguments={a: none}", 5, "'none' is for what must not come");
    body("open a.1\na.1 > queue.declare arguments=ordered {a: 1I}", 5, "sent in the order it is written in");
    body("let t = ordered {a: 1I}", 4, "'ordered' is for what is expected");
    body("open a\na > raw table({a: _})", 5, "'_' is for what is expected");
    body("open a\na > raw table({a: 1I, ...})", 5, "'...'");
    body("open a.1\nwithin 1s a.1 > queue.declare", 5, "'within' is for what is expected");
}

#[test]
fn tables_of_what_is_expected_can_be_met() {
    body(
        "open a.1\na.1 < basic.deliver headers={a: 1I, a: none}",
        5,
        "'a' must not come, and is there twice",
    );
    body("open a.1\na.1 < basic.deliver headers={a: none, b: {a: none, a: none, ...}}", 5, "is there twice");
    body("open a.1\na.1 < basic.deliver headers={a: [none]}", 5, "'none' is for what must not come");
    body("open a.1\na.1 < basic.deliver headers={a: 1I, ..., b: 2I}", 5, "'}' expected");
    body("open a.1\na.1 < basic.deliver headers=ordered [1I]", 5, "'{' expected");
    let long = format!("open a.1\na.1 < basic.deliver headers={{{}: 1I}}", "k".repeat(256));
    body(&long, 5, "a key holds 255 bytes, not 256");
}

#[test]
fn parts_of_bytes_are_sound() {
    body("open a\na > raw table(1)", 5, "table wants a table, this is an integer");
    body("open a\na > raw table($t)", 5, "$t has no value");
    body("open a\na > raw sized(01 u8(256))", 5, "u8 cannot hold 256");
    body("open a\na > raw sized8(00 fill(250) \"hares\")", 5, "sized8 holds 255 bytes, not 256");
    body("open a\na > raw sized(sized8(fill(200) sized8(fill(55))))", 5, "not 256");
    body("open a.1\na.1 > frame payload=bytes(sized16(00))", 5, "'sized16' is not an even number");
    body("open a\na > raw sized(00", 6, "bytes expected");
    body("open a\na < raw sized(table(\"x\"))", 5, "table wants a table, this is a text");
}

#[test]
fn a_time_without_heartbeats_is_that_of_a_connection() {
    body("open a\nno-heartbeat b 1s", 5, "connection 'b' was never opened");
    body("open a.1\nno-heartbeat a.1 1s", 5, "a connection is named here");
    body("open a\nno-heartbeat a", 5, "a time such as 100ms or 2s expected");
    body("open a\nno-heartbeat a soon", 5, "'soon' is no time");
    body("open no-heartbeat", 4, "cannot name a connection");
    body("open a\nany-order {\n  no-heartbeat a 1s\n}", 6, "expectations only");
}

#[test]
fn variables_have_a_value_before_they_are_used() {
    body("open a.1\na.1 > queue.declare queue=$q", 5, "$q has no value");
    body("open a.1\na.1 > queue.declare queue=\"a $q\"", 5, "$q has no value");
    body("open a.1\na.1 > queue.declare arguments={x: [$q]}", 5, "$q has no value");
    body("open a.1\na.1 < basic.ack delivery-tag=$n+1", 5, "$n has no value");
    body("open a.1\na.1 < acks 1..$n", 5, "$n has no value");
    body(
        "open a.1\na.1 < queue.declare-ok queue=$q\na.1 > basic.qos prefetch-count=$q",
        6,
        "wants an integer, this is a text",
    );
    body(
        "open a.1\none-of {\n  a.1 < queue.declare-ok queue=$q\n  a.1 < basic.cancel-ok\n}\n\
         a.1 > queue.purge queue=$q",
        9,
        "$q has no value",
    );
}

#[test]
fn connections_and_channels_are_opened_before_they_are_used() {
    body("a.1 > queue.declare", 4, "connection 'a' was never opened");
    body("open a\na.1 > queue.declare", 5, "channel a.1 was never opened");
    body("open a.1\na.2 < queue.declare-ok", 5, "channel a.2 was never opened");
    body("open a.1\nnothing b", 5, "connection 'b' was never opened");
    body("open a.1\na > queue.declare", 5, "wants a channel");
    body("open a.1\na.1 < connection.close", 5, "belongs to channel 0");
    body("open a.70000", 4, "no channel");
    body("open repeat", 4, "cannot name a connection");
}

#[test]
fn blocks_are_closed_and_hold_what_belongs_there() {
    body("open a.1\nany-order {\n  a.1 < basic.ack", 5, "never closed");
    body("open a.1\n}", 5, "closes no block");
    body("open a.1\nrepeat 2 {\n}", 5, "empty");
    body("open a.1\nany-order {\n  a.1 > basic.ack\n}", 6, "expectations only");
    body("open a.1\nany-order {\n  a.1 < eof\n}", 6, "a group holds methods and acks");
    body("open a.1\notherwise {\n  sync a.1\n}", 5, "follows a 'when'");
    body("open a.1 open b.1", 4, "no field 'open'");
    body("open a.1\nsync a.1 b.1", 5, "should end here");
    body("wait soon", 4, "no time");
    body("open a.1\npause b", 5, "connection 'b' was never opened");
    body("open a.1\nresume a.1", 5, "a connection is named here");
    body("unique q(10)", 4, "has 21 to 255 bytes, not 10");
    body("unique q(256)", 4, "not 256");
    body("unique q(x)", 4, "no length");
}

#[test]
fn what_differs_has_its_block_and_a_block_its_reason() {
    let differs = format!("{HEAD}differs: rabbitmq 4.3 does so; we do not\n");
    check(&format!("{differs}open a\n"), 1, "no block 'when rabbitmq");
    body("open a.1\nwhen rabbitmq {\n  sync a.1\n}", 5, "wants 'differs: rabbitmq");
    body("differs: rabbitmq does so\nopen a", 4, "a broker, its version and a reason");
    check(&format!("{differs}open a.1\nwhen rabbitmq new {{\n  sync a.1\n}}\n"), 6, "'new' is no version");
    let sound =
        format!("{differs}open a.1\nwhen rabbitmq {{\n  sync a.1\n}} otherwise {{\n  nothing a.1\n}}\n");
    assert!(read(Path::new("x"), "x/y", &sound).is_ok());
}

/// That a script with these definitions, which begin in line 4, is refused.
#[track_caller]
fn defined(definitions: &str, body: &str, line: usize, reason: &str) {
    check(&format!("{HEAD}definitions: {definitions}\n{body}\n"), line, reason);
}

#[test]
fn definitions_are_a_document_whose_names_are_defined_and_used() {
    let users = "{\n  \"users\": [{\"name\": \"$u\"}]";
    defined("{\n  \"users\": [,]\n  }", "open a", 5, "is no JSON object: expected value");
    defined("[]", "open a", 4, "is no JSON object");
    defined("{}\ndefinitions: {}", "open a", 5, "twice");
    defined("{\n  \"hares\": []}", "open a", 5, "the section 'hares' is not one of users, vhosts");
    defined("{\n  \"users\": {}}", "open a", 5, "the section 'users' is not an array of objects");
    defined("{\n  \"users\": [1]}", "open a", 5, "not an array of objects");
    defined(&format!("{users}}}"), "open a", 4, "$u is defined here and never used");
    defined(&format!("{users}}}"), "# not by $u\nopen a", 4, "$u is defined here and never used");
    let permission = "\"permissions\": [{\"user\": \"$v\", \"vhost\": \"$vhost\"}]";
    defined(
        &format!("{users},\n  {permission}}}"),
        "open a user=$u",
        6,
        "$v is the user of something, and not among 'users'",
    );
    let policy = "{\n  \"policies\": [{\"name\": \"$p\", \"vhost\": \"$w\"}]}";
    defined(policy, "open a vhost=$w", 5, "$w is the vhost of something");
    defined(&format!("{users}}}"), "open a user=$v", 6, "$v has no value here");
    defined(&format!("{users}}}"), "unique u\nopen a user=$u", 6, "$u has its value from 'definitions:'");
}

#[test]
fn an_operator_is_told_a_command() {
    body("open a\noperator", 5, "'operator' wants a command");
    body("open a\noperator delete_user $u", 5, "$u has no value here");
    body("open a\nlet n = 1\noperator delete_user $n", 6, "a command wants a text, this is an integer");
    body("open a\noperator delete_user {}", 5, "a word of a command expected");
}

#[test]
fn after_a_restart_everything_is_opened_anew() {
    body("open a\nrestart softly", 5, "'restart' is alone, or followed by 'stop' or 'kill'");
    body("open a.1\nrestart kill\nsync a.1", 6, "connection 'a' was never opened");
    body("open a.1\nrestart\nopen a\nsync a.1", 7, "channel a.1 was never opened");
}

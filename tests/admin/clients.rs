//! Connections and channels as an operator sees them, and their end at his hands.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use leveret::client::identity::Peer;
use serde_json::{Value, json};

fn clients(operation: &Value) -> Value {
    json!({ "clients": operation })
}

fn close(connection: &str) -> Value {
    clients(&json!({ "close_connection": { "connection": connection, "reason": "go away" } }))
}

#[test]
fn connections_are_there_from_the_handshake_to_the_end() {
    let mut fixture = TestBroker::new();
    let list = clients(&json!("list_connections"));
    fixture.world.accept("z", "127.0.0.1:50009");
    fixture.answers(&list, &json!([]));
    fixture.client("a", 50_000);
    fixture.client("b", 50_001);
    let rows = fixture.ask(&list).unwrap();
    let expected = json!({
        "name": "127.0.0.1:50000", "user": "guest", "vhost": "/", "peer_host": "127.0.0.1",
        "peer_port": 50_000, "host": null, "port": null, "protocol": "AMQP 0-9-1", "ssl": false,
        "auth_mechanism": "PLAIN", "user_provided_name": null,
        "client_properties": rows[0]["client_properties"], "connected_at": 1_795_000_000_000_u64,
        "timeout": 0, "frame_max": 131_072, "channel_max": 2047, "state": "running", "channels": 1,
        "recv_oct": rows[0]["recv_oct"], "send_oct": rows[0]["send_oct"], "send_pend": 0,
    });
    assert_eq!(rows[0], expected);
    let bytes = |row: &Value, name: &str| row[name].as_u64().unwrap();
    assert!(bytes(&rows[0], "recv_oct") > 50 && bytes(&rows[0], "send_oct") > 100, "{rows}");
    fixture.say("a", &["0 connection.close"]);
    let now = fixture.world.now;
    fixture.world.client("b").session.handle_disconnect(now);
    fixture.answers(&list, &json!([]));
}

#[test]
fn a_connection_is_named_by_both_its_ends() {
    let mut fixture = TestBroker::new();
    let local = Some("127.0.0.1:5671".parse().unwrap());
    let peer = Peer { local, tls: true, ..Peer::at("127.0.0.1:50000".parse().unwrap()) };
    fixture.world.accept_peer("a", peer);
    fixture.say(
        "a",
        &["header", "0 connection.start-ok PLAIN guest guest", "0 connection.tune-ok 2047 131072 0"],
    );
    fixture.say("a", &["0 connection.open /"]);
    let row = fixture.ask(&clients(&json!("list_connections"))).unwrap()[0].clone();
    assert_eq!(row["name"], "127.0.0.1:50000 -> 127.0.0.1:5671");
    assert_eq!((&row["ssl"], &row["host"], &row["port"]), (&json!(true), &json!("127.0.0.1"), &json!(5671)));
}

#[test]
fn channels_tell_what_waits_on_them() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.world.log.hold();
    fixture.say(
        "a",
        &[
            "1 queue.declare q",
            "1 basic.publish '' q one",
            "1 basic.publish '' q two",
            "1 basic.publish '' q three",
            "1 basic.qos 2",
            "1 basic.consume q c",
            "2 channel.open",
            "2 queue.declare d durable",
        ],
    );
    fixture.world.log.sync();
    fixture.world.settle();
    fixture.say(
        "a",
        &[
            "2 confirm.select",
            "2 basic.publish '' d one persistent",
            "2 basic.publish '' d two persistent",
            "3 channel.open",
            "3 tx.select",
            "3 basic.publish '' q one",
            "3 basic.get q",
            "3 basic.ack 1",
            "3 basic.qos 7 global",
        ],
    );
    let rows = fixture.ask(&clients(&json!("list_channels"))).unwrap();
    let row = |number: usize| {
        let row = &rows[number - 1];
        assert_eq!(row["name"], format!("127.0.0.1:50000 ({number})"));
        assert_eq!(
            (&row["user"], &row["vhost"], &row["number"]),
            (&json!("guest"), &json!("/"), &json!(number))
        );
        let column = |name: &str| row[name].as_u64().unwrap();
        let waiting = [
            column("consumer_count"),
            column("messages_unacknowledged"),
            column("messages_unconfirmed"),
            column("messages_uncommitted"),
            column("acks_uncommitted"),
        ];
        let modes = (row["confirm"].as_bool().unwrap(), row["transactional"].as_bool().unwrap());
        (waiting, modes, (column("prefetch_count"), column("global_prefetch_count")))
    };
    assert_eq!(row(1), ([1, 2, 0, 0, 0], (false, false), (2, 0)));
    assert_eq!(row(2), ([0, 0, 2, 0, 0], (true, false), (0, 0)));
    assert_eq!(row(3), ([0, 0, 0, 1, 1], (false, true), (0, 7)));
    fixture.world.log.sync();
    fixture.say("a", &["3 channel.close", "1 basic.ack 2 multiple"]);
    let rows = fixture.ask(&clients(&json!("list_channels"))).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["messages_unacknowledged"], 1, "what the other channel gave back");
    assert_eq!(rows[1]["messages_unconfirmed"], 0);
    let describe = json!({ "describe_connection": { "connection": "127.0.0.1:50000" } });
    let told = fixture.ask(&clients(&describe)).unwrap();
    assert_eq!(told["connection"]["connection"]["channels"], 2);
    assert_eq!(told["connection"]["channels"].as_array().unwrap().len(), 2);
}

#[test]
fn a_client_that_is_closed_is_told_why() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.client("b", 50_001);
    fixture.answers(&close("127.0.0.1:50000"), &json!("done"));
    assert_eq!(fixture.world.heard("a"), ["0 connection.close 320 CONNECTION_FORCED - go away (0,0)"]);
    assert_eq!(fixture.world.heard("b"), Vec::<String>::new());
    let list = clients(&json!("list_connections"));
    assert_eq!(fixture.column(&list, "peer_port"), [50_001]);
    let gone = "there is no connection '127.0.0.1:50000'; did you mean '127.0.0.1:50001'?";
    fixture.refuses(&close("127.0.0.1:50000"), RefusalKind::NotFound, gone);
    let describe = json!({ "describe_connection": { "connection": "127.0.0.1:50000" } });
    fixture.refuses(&clients(&describe), RefusalKind::NotFound, gone);
}

#[test]
fn a_name_that_two_have_is_that_of_neither() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.client("b", 50_000);
    let several = "there are several connections from '127.0.0.1:50000': give the whole name of one";
    fixture.refuses(&close("127.0.0.1:50000"), RefusalKind::Conflict, several);
}

#[test]
fn one_that_waits_for_memory_is_blocked() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.world.log.set_health(leveret::store::change::Health::Full);
    fixture.say("a", &["1 basic.publish '' nowhere m"]);
    assert_eq!(fixture.column(&clients(&json!("list_connections")), "state"), ["blocked"]);
    let status = fixture.ask(&json!({ "node": "status" })).unwrap();
    assert_eq!(status["status"]["store"], "full");
    assert_eq!(status["status"]["alarms"], json!(["disk"]));
    assert_eq!(status["status"]["connections"], 1);
}

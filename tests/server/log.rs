//! What a process logs of its connections, and the log as messages: what a process logs comes out
//! of the exchange `amq.rabbitmq.log`.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, Process};

fn client(broker: &Process) -> Client {
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    client
}

#[test]
fn lines_come_by_their_level_to_who_is_bound() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut reader = client(&broker);
    let mut others = client(&broker);
    // Nothing is bound: this line is in the log alone.
    others.say(&["1 queue.declare before passive"]);
    assert!(others.hear().starts_with("1 channel.close 404"));
    reader.say(&[
        "1 queue.declare lines",
        "1 queue.bind lines amq.rabbitmq.log warning",
        "1 basic.consume lines c no-ack",
    ]);
    for answer in ["1 queue.declare-ok", "1 queue.bind-ok", "1 basic.consume-ok"] {
        assert!(reader.hear().starts_with(answer));
    }
    others.say(&["2 channel.open", "2 queue.declare after passive"]);
    assert!(others.hear().starts_with("2 channel.open-ok"));
    assert!(others.hear().starts_with("2 channel.close 404"));
    // The line itself is long.
    let line = reader.hear();
    assert!(line.starts_with("1 basic.deliver c 1 amq.rabbitmq.log warning node=leveret *"), "{line}");
    // Nobody else may say something there.
    reader.say(&["2 channel.open", "2 basic.publish amq.rabbitmq.log warning forged"]);
    assert!(reader.hear().starts_with("2 channel.open-ok"));
    let mut heard = [reader.hear(), reader.hear()];
    heard.sort();
    assert!(heard[0].starts_with("1 basic.deliver c 2 amq.rabbitmq.log warning node=leveret *"), "{heard:?}");
    assert!(heard[1].contains("cannot publish to internal exchange 'amq.rabbitmq.log'"), "{heard:?}");
    assert!(broker.stop().1.contains("'before'"));
}

/// A connection is two lines, however it ends.
#[test]
fn a_connection_is_a_line_when_it_opens_and_a_line_when_it_ends() {
    let lines_of = |end: fn(Client), last: &str| {
        let folder = Folder::new();
        let broker = Process::start(&folder);
        let mut client = Client::over(connect(broker.amqp));
        client.log_in("PLAIN guest guest");
        end(client);
        broker.until_logged(last);
        let (_status, log) = broker.stop();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("peer=")).collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("connected") && lines[1].contains(last), "{log}");
    };
    let close = |mut client: Client| {
        client.say(&["0 connection.close 200 bye"]);
        assert_eq!(client.hear(), "0 connection.close-ok");
    };
    lines_of(close, "closed by the client");
    lines_of(drop, "the client closed the socket without closing the connection");
    // The broker says why it closes: that the client then goes is no news.
    let refused = |mut client: Client| {
        client.say(&["0 connection.tune-ok 1 1 1"]);
        assert!(client.hear().starts_with("0 connection.close 5"));
    };
    lines_of(refused, "closing the connection");
}

//! A data file that was damaged: what a start says and does, and what an operator can do about it.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, Process, leveret, leveret_in, outcome};
use std::fs;
use std::process::Output;

/// A client that waits for confirms, on channel 1.
fn client(broker: &Process) -> Client {
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    client.say(&["1 confirm.select"]);
    assert_eq!(client.hear(), "1 confirm.select-ok");
    client
}

fn publish(client: &mut Client, body: &str) {
    client.say(&[&format!("1 basic.publish '' q {body} persistent")]);
    assert!(client.hear().starts_with("1 basic.ack"));
}

fn declare(client: &mut Client, messages: u32) {
    client.say(&["1 queue.declare q durable"]);
    assert_eq!(client.hear(), format!("1 queue.declare-ok q {messages} 0"));
}

/// Turns a bit of `what` wherever it is in the data file.
fn turn(folder: &Folder, what: &str) {
    let path = folder.at("data").join("leveret.redb");
    let mut file = fs::read(&path).expect("it is there");
    let places: Vec<usize> = (0..file.len() - what.len())
        .filter(|&at| file[at] == what.as_bytes()[0] && file[at..].starts_with(what.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{what} is in the file");
    places.into_iter().for_each(|at| file[at + 1] ^= 1);
    fs::write(&path, file).expect("it is ours");
}

fn list(folder: &Folder, columns: &[&str]) -> String {
    let mut command = leveret();
    command.args(["ctl", "-s", "--data-dir"]).arg(folder.at("data")).arg("list_damaged").args(columns);
    let Output { stdout, stderr, .. } = outcome(&mut command);
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    String::from_utf8(stdout).expect("it is UTF-8")
}

#[test]
fn damage_in_the_journal_refuses_a_start_and_is_repaired_on_request() {
    // Whoever is slow finds the messages in the tables: then again.
    let refused = (0..20).find_map(|_| {
        let folder = Folder::new();
        let broker = Process::start(&folder);
        let mut client = client(&broker);
        declare(&mut client, 0);
        ["hare-one", "hare-two", "hare-three"].iter().for_each(|body| publish(&mut client, body));
        broker.kill();
        turn(&folder, "hare-two");
        let mut command = leveret_in(&folder);
        // A broker that starts after all would not end.
        command.args(["--definitions", "there-is-none"]);
        let Output { status, stderr, .. } = outcome(&mut command);
        let stderr = String::from_utf8(stderr).expect("it is UTF-8");
        stderr.contains("of the journal").then_some((folder, status, stderr))
    });
    let (folder, status, stderr) = refused.expect("it is not always slow");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("leveret: the data file is damaged: ") && last.contains("--repair"), "{stderr}");
    assert_eq!(status.code(), Some(1), "{stderr}");
    let broker = Process::spawn(leveret_in(&folder).arg("--repair"));
    declare(&mut client(&broker), 2);
    let (_status, log) = broker.stop();
    assert!(log.contains("repair: dropping entry "), "{log}");
    assert_eq!(lost(&log), "nobody knows how many messages one damaged part of the file had, which are lost");
}

/// What the last line of a repair says.
fn lost(log: &str) -> &str {
    let mut said = log.lines().filter_map(|line| Some(line.split_once("repair: ")?.1));
    said.next_back().expect("it says what it does")
}

#[test]
fn a_repair_says_in_the_end_how_many_messages_it_lost() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut first = client(&broker);
    declare(&mut first, 0);
    publish(&mut first, "*100000");
    drop(first);
    broker.stop();
    let path = folder.at("data").join("leveret.redb");
    let whole = fs::read(&path).expect("it is there");
    // What is not in the journal any more, behind which the tables are.
    let is_body = |page: &[u8]| page.iter().all(|&byte| byte == b'x');
    let last = whole.chunks_exact(4096).rposition(is_body).expect("the body is longer than a page");
    let mut torn = whole.clone();
    torn[last * 4096..][..4096].fill(b'y');
    for (file, said) in [(whole, "no message is lost"), (torn, "1 message is lost")] {
        fs::write(&path, file).expect("it is ours");
        let broker = Process::spawn(leveret_in(&folder).arg("--repair"));
        let (_status, log) = broker.stop();
        assert_eq!(lost(&log), said, "{log}");
    }
}

#[test]
fn a_torn_end_of_the_journal_is_told_and_a_whole_one_is_not() {
    let log_after = |tear: bool| {
        let folder = Folder::new();
        let broker = Process::start(&folder);
        let mut client = client(&broker);
        declare(&mut client, 0);
        ["hare-one", "hare-two"].iter().for_each(|body| publish(&mut client, body));
        broker.kill();
        if tear {
            turn(&folder, "hare-two");
        }
        Process::start(&folder).stop().1
    };
    let tells = |log: &String| log.contains("WARN") && log.contains("the journal ends with entry ");
    // Whoever is slow finds the messages in the tables: then again.
    assert!((0..20).map(|_| log_after(true)).any(|log| tells(&log)));
    let log = log_after(false);
    assert!(!tells(&log), "{log}");
}

#[test]
fn damaged_messages_are_told_exported_and_not_delivered() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut first = client(&broker);
    declare(&mut first, 0);
    publish(&mut first, "hare-one");
    drop(first);
    assert_eq!(broker.stop().0.code(), Some(0));
    turn(&folder, "hare-one");
    let broker = Process::start(&folder);
    let mut second = client(&broker);
    second.say(&["1 basic.get q"]);
    assert_eq!(second.hear(), "1 basic.get-empty");
    assert_eq!(list(&folder, &["queue", "vhost", "first", "messages"]), "q\t/\t0\t1\n");
    let exported = list(&folder, &["records"]);
    let body: String = b"h`re-one".iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(exported.trim_end().ends_with(&body), "{exported}");
    publish(&mut second, "hare-two");
    second.say(&["1 basic.get q no-ack"]);
    assert!(second.hear().contains("hare-two"));
    let (_status, log) = broker.stop();
    assert!(log.contains("damaged"), "{log}");
    // They are still there, and still damaged.
    let broker = Process::start(&folder);
    let mut third = client(&broker);
    third.say(&["1 basic.get q"]);
    assert_eq!(third.hear(), "1 basic.get-empty");
    assert_eq!(list(&folder, &["messages"]), "1\n");
}

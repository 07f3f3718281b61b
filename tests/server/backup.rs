//! A copy that is made while the broker works, and a data file that is made of it.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, Process, leveret, outcome};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Output;

/// The bodies of the messages before the copy: more than one block of them.
const MESSAGES: usize = 500;

fn backup(folder: &Folder, file: &Path) -> Output {
    outcome(leveret().args(["ctl", "backup"]).arg(file).arg("--data-dir").arg(folder.at("data")))
}

/// Makes a data file of a copy, in the folder `data` of `folder`.
fn restore(file: &Path, folder: &Folder) -> Output {
    outcome(leveret().arg("restore").arg(file).arg("--data-dir").arg(folder.at("data")))
}

fn body(number: usize) -> String {
    format!("{number}-{}", "x".repeat(2000))
}

fn publish(client: &mut Client, bodies: std::ops::Range<usize>) {
    for number in bodies {
        client.say(&[&format!("1 basic.publish '' q {} persistent", body(number))]);
        assert!(client.hear().starts_with("1 basic.ack"), "it is confirmed");
    }
}

/// A client with confirms, and the durable queue `q` with so many messages.
fn client(broker: &Process, messages: usize) -> Client {
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    client.say(&["1 confirm.select"]);
    assert_eq!(client.hear(), "1 confirm.select-ok");
    client.say(&["1 queue.declare q durable"]);
    assert_eq!(client.hear(), format!("1 queue.declare-ok q {messages} 0"));
    client
}

#[test]
fn a_copy_has_what_was_confirmed_when_it_began() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut publisher = client(&broker, 0);
    publish(&mut publisher, 0..MESSAGES);
    let copy = folder.at("copy");
    let made = backup(&folder, &copy);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(fs::metadata(&copy).expect("it is there").mode() & 0o777, 0o600);
    publish(&mut publisher, MESSAGES..MESSAGES + 1);
    broker.kill();

    let other = Folder::new();
    let made = restore(&copy, &other);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(
        made.status.success() && told.contains("data/leveret.redb from ") && made.stdout.is_empty(),
        "{told}"
    );
    let restored = Process::start(&other);
    let mut consumer = client(&restored, MESSAGES);
    for left in [MESSAGES - 1, MESSAGES - 2] {
        consumer.say(&["1 basic.get q no-ack"]);
        let (got, bytes) = (consumer.hear(), body(0).len());
        assert!(
            got.starts_with("1 basic.get-ok") && got.ends_with(&format!("q {left} persistent *{bytes}")),
            "{got}"
        );
    }
    let (status, log) = restored.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let again = Process::start(&other);
    client(&again, MESSAGES - 2);
    assert!(!again.stop().1.contains("ERROR"));
}

#[test]
fn no_file_is_made_of_a_copy_that_is_not_whole_and_none_is_replaced() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    publish(&mut client(&broker, 0), 0..MESSAGES);
    let copy = folder.at("copy");
    let made = backup(&folder, &copy);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() && made.stdout.is_empty(), "{told}");
    let len = fs::metadata(&copy).expect("it is there").len();
    assert_eq!(told, format!("leveret: wrote {} ({len} bytes)\n", copy.display()));
    let again = backup(&folder, &copy);
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(65) && told.contains("copy exists: choose another name"), "{told}");
    let forced = |file: &Path| {
        let mut command = leveret();
        command.args(["ctl", "-s", "backup", "--force"]).arg(file).arg("--data-dir").arg(folder.at("data"));
        outcome(&mut command)
    };
    let others = folder.write("others", "a shopping list");
    for file in [&others, &folder.at("data/leveret.redb"), &folder.at("data")] {
        let refused = forced(file);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(65), "{told}");
        assert!(told.contains("is no copy that leveret ctl backup made, and stays as it is"), "{told}");
    }
    assert_eq!(fs::read(&others).expect("it is there"), b"a shopping list");
    let again = forced(&copy);
    assert!(again.status.success() && again.stderr.is_empty(), "{again:?}");
    // Where no file can be opened, the broker is not asked for a copy.
    assert_eq!(forced(&folder.at("none/copy")).status.code(), Some(65));
    // Nothing can be written there, so that the broker is left before it has sent everything.
    symlink("/dev/full", folder.at("full.part")).expect("the folder is ours");
    assert_eq!(forced(&folder.at("full")).status.code(), Some(65));
    broker.until_logged("a copy of the data file is incomplete: the client left by=\"ctl, uid ");
    let (_, log) = broker.stop();
    assert_eq!(log.matches("a copy of the data file is sent by=\"ctl, uid ").count(), 2, "{log}");
    assert_eq!(log.matches("the client left").count(), 1, "{log}");
    assert!(!log.contains("changed: backup"), "{log}");
    let refused = |made: Output, words: &str| {
        let told = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.code() == Some(1) && told.contains(words) && told.lines().count() == 1, "{told}");
    };
    refused(restore(&copy, &folder), "data/leveret.redb exists: restore into another folder");
    let whole = fs::read(&copy).expect("it is there");
    let other = Folder::new();
    for (changed, words) in [
        (whole[..whole.len() - 1].to_vec(), "it is cut short"),
        (whole[..whole.len() / 2].to_vec(), "it is cut short"),
        (b"something else, which is longer".to_vec(), "it is not a copy that leveret ctl backup made"),
        ([&whole[..19], &[99], &whole[20..]].concat(), "newer"),
        ([&whole[..300_000], b"?", &whole[300_001..]].concat(), "it does not match its checksums"),
    ] {
        refused(restore(&other.write("copy", changed), &other), words);
        assert!(!other.at("data").exists(), "{words}");
    }
}

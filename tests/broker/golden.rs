//! Messages in files that older versions wrote are delivered as if this one had taken them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::broker::start_broker;
use crate::store::golden::{SHOWN_BYTES, expected, image, names};
use crate::support::folder::Folder;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::ConnectionId;
use leveret::queue::Got;
use leveret::queue::mailbox::Mailbox;
use leveret::store::{FILE_NAME, Options, open};
use std::fs;

/// Soon after the files were made: nothing has expired, nothing that waits is due.
const NOW: Now = Now { mono_ms: 0, unix_ms: 1_795_705_500_000 };

/// Messages of old come out in the order in which they came.
#[test]
fn messages_of_every_format_are_delivered() {
    for name in names() {
        let folder = Folder::new();
        fs::write(folder.at(FILE_NAME), image(&name)).unwrap();
        let opened = open(&folder.at(""), Options::default()).unwrap();
        let broker = start_broker(opened, BrokerSettings::default(), NOW).unwrap();
        let text = expected(&name);
        for queue in ["plain", "counted", "urgent"] {
            let bodies: Vec<&str> = text
                .lines()
                .skip_while(|line| !line.starts_with(&format!("queue / {queue} ")))
                .skip(1)
                .take_while(|line| line.starts_with("  "))
                .filter(|line| !line.starts_with("  lane"))
                .map(|line| line.split('\'').nth(1).unwrap())
                .collect();
            assert!(bodies.len() >= 8, "{name}: {bodies:?}");
            assert_eq!(taken(&broker, queue), bodies, "{name}");
        }
        broker.shutdown().unwrap();
    }
}

/// All that is ready in a queue, as the texts show bodies.
fn taken(broker: &Broker, queue: &str) -> Vec<String> {
    let queue = broker.vhost().queue(queue, ConnectionId(1)).unwrap();
    let (mailbox, mut bodies) = (Mailbox::new(), Vec::new());
    loop {
        match broker.get(&queue, true, &mailbox, NOW) {
            Got::Message { block, index, .. } => {
                let body = block.message(index).body;
                bodies.push(body[..body.len().min(SHOWN_BYTES)].escape_ascii().to_string());
            }
            Got::Empty => return bodies,
            Got::Paging => super::power_cut::wait_for(&mailbox),
        }
    }
}

//! Deletes what a case declared and left behind, over a connection of its own.
//!
//! It notes each queue.declare and exchange.declare that goes out, and the names that the broker
//! made up; exclusive queues go with their connection. It never fails: what cannot be deleted has a
//! name that nobody else uses.

use crate::clock;
use crate::protocol::frame::{self, Frame};
use crate::protocol::method::Method;
use crate::protocol::value::Value;
use crate::run::connections::Connections;
use crate::run::connections::handshake::made;
use crate::run::target::Target;
use crate::run::{Done, LIMIT};
use crate::script::Address;
use std::collections::BTreeSet;

/// What a case declared, in the runner's vhost.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    queues: BTreeSet<Vec<u8>>,
    exchanges: BTreeSet<Vec<u8>>,
    /// Channels that wait for the name of a queue that is not exclusive.
    nameless: BTreeSet<(String, u16)>,
}

impl Declared {
    /// Notes what goes out.
    pub(crate) fn note_sent(&mut self, connection: &str, channel: u16, method: &Method) {
        if method.bit("passive") {
            return;
        }
        match method.spec.name {
            "queue.declare" if method.bit("exclusive") => {}
            "queue.declare" if method.text("queue").is_empty() => {
                self.nameless.insert((connection.to_owned(), channel));
            }
            "queue.declare" => {
                self.queues.insert(method.text("queue").to_vec());
            }
            "exchange.declare" if !method.text("exchange").starts_with(b"amq.") => {
                self.exchanges.insert(method.text("exchange").to_vec());
            }
            _ => {}
        }
    }

    /// Notes what comes in.
    pub(crate) fn note_frame(&mut self, connection: &str, frame: &Frame) {
        if frame.kind != frame::METHOD || self.nameless.is_empty() {
            return;
        }
        let Ok(method) = Method::decode(&frame.payload) else { return };
        let waited = (connection.to_owned(), frame.channel);
        if method.spec.name == "queue.declare-ok" && self.nameless.remove(&waited) {
            self.queues.insert(method.text("queue").to_vec());
        }
    }

    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.exchanges.is_empty()
    }
}

/// Deletes all of `declared`.
pub(crate) fn sweep(target: &Target, declared: &Declared) {
    if declared.is_empty() {
        return;
    }
    let mut connections = Connections::new();
    let queues = declared.queues.iter().map(|name| ("queue.delete", "queue", name));
    let exchanges = declared.exchanges.iter().map(|name| ("exchange.delete", "exchange", name));
    for (method, field, name) in queues.chain(exchanges) {
        let delete = made(method, vec![(field, Value::Text(name.clone()))]);
        if one(target, &mut connections, &delete).is_err() {
            // The channel is closed, or more; the next one starts afresh.
            connections.drop_all();
        }
    }
}

fn one(target: &Target, connections: &mut Connections, delete: &Method) -> Done {
    let at = Address { connection: "sweep".into(), channel: Some(1) };
    if connections.is_empty() {
        connections.open(target, &at, &[])?;
    }
    connections.send_method(&at, delete, None)?;
    let message = connections.message(&at, clock::now() + LIMIT)?;
    if message.method.spec.name.ends_with("delete-ok") { Ok(()) } else { Err(message.show().into()) }
}

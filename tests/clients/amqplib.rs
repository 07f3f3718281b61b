//! amqplib, the client for Node.js: the tutorials that it carries, and what programs expect beyond
//! them.

use crate::clients::{check, check_over_a_restart, install, programs, tests};
use std::process::Command;

fn node(program: &str) -> Command {
    let place = install::node_modules("amqplib");
    let mut command = Command::new("node");
    command.env("NODE_PATH", place.join("node_modules"));
    command.arg(programs("amqplib").join(program).with_extension("js"));
    command
}

fn run(program: &str) {
    check(node(program));
}

tests! { run: tutorials work_queues routing rpc confirms errors callbacks }

#[test]
fn reconnect() {
    check_over_a_restart(node("reconnect"));
}

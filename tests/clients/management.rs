//! Tools that manage a broker by its HTTP API: the script rabbitmqadmin of RabbitMQ 3.x, and
//! Flower.
//!
//! Both programs pass on RabbitMQ 4.3 too.

use crate::clients::{Subject, ended_well, python, tests};
use crate::support::process::outcome;
use std::process::Stdio;

fn run(program: &str) {
    let broker = Subject::start();
    let mut command = python("management", program);
    let output = outcome(command.arg(&broker.uri).arg(&broker.api).stdin(Stdio::null()));
    ended_well(&output, &broker.stop());
}

tests! { run: classic flower }

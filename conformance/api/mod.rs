//! Asks a management API all that `steps.txt` says, and prints the answers as JSON: what Leveret's
//! are compared with.
//!
//! ```text
//! cargo run -p conformance -- api --http 127.0.0.1:15672 --amqp 127.0.0.1:5672 > tests/http/rabbitmq.json
//! ```
//!
//! The broker has to be fresh, with the user guest and nothing declared.

use crate::harness::unable;
use crate::say;
use clap::Args;
use conformance::api::STEPS;
use conformance::api::record::{Broker, record};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Address of the API
    #[arg(long, value_name = "ADDR:PORT")]
    http: SocketAddr,
    /// Address for AMQP clients
    #[arg(long, value_name = "ADDR:PORT")]
    amqp: SocketAddr,
}

/// Asks, and prints.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let broker = Broker { http: arguments.http, amqp: arguments.amqp };
    let answers = record(broker, STEPS).and_then(|answers| {
        let lines: Vec<String> = answers.as_array().into_iter().flatten().map(ToString::to_string).collect();
        say(&format!("[\n{}\n]\n", lines.join(",\n")))
    });
    match answers {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => unable("api", &why),
    }
}

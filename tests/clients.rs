//! Other people's clients against the real process, unmodified.
//!
//! With a URI in `LEVERET_TEST_AMQP` they run against that broker instead: what they expect is what RabbitMQ does,
//! and this is how it is checked. Only the tests that end the process themselves always start their own.

mod kill;
mod lapin;
mod pika;

use crate::support::process::{Folder, Process, leveret};
use std::env;
use std::net::SocketAddr;

/// The broker under test.
struct Subject {
    uri: String,
    /// None when it is somebody else's.
    own: Option<(Process, Folder)>,
}

impl Subject {
    fn start() -> Self {
        if let Ok(uri) = env::var("LEVERET_TEST_AMQP") {
            return Self { uri, own: None };
        }
        let folder = Folder::new();
        let process = Process::start(&folder);
        Self { uri: uri(process.amqp), own: Some((process, folder)) }
    }

    /// Stops it; what it logged.
    fn stop(self) -> String {
        self.own.map_or_else(String::new, |(process, _folder)| process.stop().1)
    }
}

fn uri(amqp: SocketAddr) -> String {
    format!("amqp://guest:guest@{amqp}/%2F")
}

/// Starts a broker again on the data in `folder`, where its clients look for it.
fn restart(folder: &Folder, amqp: SocketAddr) -> Process {
    let amqp = amqp.to_string();
    let mut command = leveret();
    command.args(["--amqp", &amqp, "--http", "127.0.0.1:0", "--data-dir"]).arg(folder.at("data"));
    Process::spawn(&mut command)
}

//! The conversation with the broker: a line of JSON each way, see `server/control`.

use super::error::CtlError;
use crate::admin::{Operation, Refusal};
use crate::config::control::socket;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the broker may say nothing: longer than it waits for its disk.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// A running broker.
#[derive(Debug)]
pub struct Broker(BufReader<UnixStream>);

/// A line of an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// One row of a list.
    Row(Value),
    /// The end of the answer.
    Answer(Value),
    /// The end of it.
    Refusal(Refusal),
}

impl Broker {
    /// The broker whose data is in that folder.
    ///
    /// # Errors
    /// There is none, or it may not be talked to.
    pub fn connect(data_dir: &Path) -> Result<Self, CtlError> {
        let path = socket(data_dir).map_err(CtlError::NotRunning)?;
        let folder = data_dir.display();
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => CtlError::NotRunning(format!(
                "no broker is running on the data in {folder} (there is no {}): name its data folder with --data-dir",
                path.display()
            )),
            ErrorKind::ConnectionRefused => CtlError::NotRunning(format!(
                "no broker is running on the data in {folder} (nothing listens on {})",
                path.display()
            )),
            ErrorKind::PermissionDenied => {
                let owner = fs::metadata(data_dir).map(|folder| format!(" (uid {})", folder.uid()));
                let owner = owner.unwrap_or_default();
                CtlError::NoRight(format!(
                    "no permission to use {}: run this as the user that runs the broker{owner}, or as root",
                    path.display()
                ))
            }
            _ => CtlError::NotRunning(format!("cannot reach the broker on {}: {error}", path.display())),
        })?;
        let waits = stream.set_read_timeout(Some(ANSWER_WAIT));
        waits.map_err(|error| CtlError::Garbled(error.to_string()))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// The broker is gone.
    pub fn ask(&mut self, operation: &Operation) -> Result<(), CtlError> {
        let mut line = serde_json::to_vec(operation).map_err(|error| CtlError::Usage(error.to_string()))?;
        line.push(b'\n');
        match self.0.get_mut().write_all(&line) {
            // It may have said why before it turned away.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            sent => sent
                .map_err(|error| CtlError::NotRunning(format!("lost the connection to the broker: {error}"))),
        }
    }

    /// The next line of the answer.
    ///
    /// # Errors
    /// The broker is gone, or makes no sense.
    pub fn hear(&mut self) -> Result<Reply, CtlError> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                CtlError::NotRunning(format!("the broker did not answer within {} s", ANSWER_WAIT.as_secs()))
            }
            _ => CtlError::NotRunning(format!("lost the connection to the broker: {error}")),
        })?;
        if read == 0 {
            return Err(CtlError::NotRunning(
                "the broker closed the connection without an answer".to_owned(),
            ));
        }
        serde_json::from_slice(&line).map_err(|error| CtlError::Garbled(error.to_string()))
    }
}

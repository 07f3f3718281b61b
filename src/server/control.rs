//! The operator's way in: a unix socket in the data folder, which only the broker's own user and
//! root can connect to.
//!
//! A client writes a request a line, an [`Operation`](crate::admin::Operation) as JSON, and reads
//! lines of JSON until the one that ends its answer: `{"row": ..}` any number of times, then
//! `{"answer": ..}`, or `{"refusal": {"kind": .., "message": ..}}`. What is answered is on disk.
//!
//! Invariants: the socket is reachable under its name only once its mode is 0600, and gone when the
//! broker ends; a request has a longest line, a client a time to send it and to take what is there
//! for it, and only so many are there at a time; of an answer no more than a buffer is made ahead
//! of what the client takes. What is asked of the broker is done by
//! [`perform_durably`](crate::admin::perform_durably), for each client one thing at a time.

use crate::admin::{Answer, Refusal, RefusalKind, Requester, Row, Rows, Told, perform_durably};
use crate::broker::Broker;
use crate::config::control::{REQUEST_BYTES_MAX, socket};
use serde::Serialize;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

/// Clients at a time: an operator and his scripts.
const CLIENTS_MAX: usize = 16;

/// How long a request may take to arrive.
const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// How long a client may take no byte of its answer.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are made before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long to wait when the system has no descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The folder in the data folder in which the socket is made, and its name there; no longer than
/// its name in the end.
const WORKSHOP: (&str, &str) = (".control", "s");

/// The socket; removed when dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Makes the socket in the data folder, which is this process's alone. A socket that is there
    /// already is replaced unless somebody answers on it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn bind(data_dir: &Path) -> Result<Self, String> {
        let path = socket(data_dir)?;
        check_place(&path)?;
        let why = |what: &str, place: &Path, error: &dyn Display| {
            format!("cannot {what} {}: {error}", place.display())
        };
        // Nobody else can look into the folder, so nobody can connect before the mode is right.
        let workshop = data_dir.join(WORKSHOP.0);
        let made = workshop.join(WORKSHOP.1);
        // What a process left here that was killed.
        let _left = fs::remove_file(&made).and_then(|()| fs::remove_dir(&workshop));
        let _empty = fs::remove_dir(&workshop);
        let folder = fs::DirBuilder::new().mode(0o700).create(&workshop);
        folder.map_err(|error| why("make the folder", &workshop, &error))?;
        let listener = UnixListener::bind(&made).map_err(|error| why("make the socket", &made, &error))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&made, mode).map_err(|error| why("protect the socket", &made, &error))?;
        fs::rename(&made, &path).map_err(|error| why("put the socket at", &path, &error))?;
        let _empty = fs::remove_dir(&workshop);
        Ok(Self { listener, path })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(%error, "cannot remove {}", self.path.display());
        }
    }
}

/// Whether the socket may be put there.
fn check_place(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(format!("{} exists and is not a socket", path.display()));
        }
        Ok(_socket) => {}
    }
    match net::UnixStream::connect(path) {
        Ok(_answered) => Err(format!("another process answers on {}", path.display())),
        Err(_nobody) => Ok(()),
    }
}

/// Serves operators until the future is dropped, and with it the socket.
pub async fn serve(control: Control, broker: Arc<Broker>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = control.listener.accept() => accepted,
            Some(ended) = clients.join_next(), if !clients.is_empty() => {
                if let Err(fault) = ended {
                    error!(%fault, "an operation panicked");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, _unnamed)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let broker = Arc::clone(&broker);
                    clients.spawn(async move {
                        // Whoever does not hear the answer has ended the connection.
                        let _lost = attend(stream, &broker).await;
                        drop(place);
                    });
                }
                Err(_full) => turn_away(&stream),
            },
            Err(error) => {
                warn!(%error, "cannot accept connections of leveret ctl");
                sleep(BACK_OFF).await;
            }
        }
    }
}

fn turn_away(stream: &UnixStream) {
    let why = format!("{CLIENTS_MAX} commands are being served already: try again");
    let mut line = Vec::new();
    if encode(&Reply::Refusal(&Refusal::new(RefusalKind::Unavailable, why)), &mut line).is_ok() {
        // A socket that was just accepted has room; it is closed in any case.
        let _told = stream.try_write(&line);
    }
}

/// A line of an answer.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    Row(&'a Row),
    Answer(&'a Told),
    Refusal(&'a Refusal),
}

fn encode(reply: &Reply<'_>, into: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *into, reply)?;
    into.push(b'\n');
    Ok(())
}

/// One client, request by request.
async fn attend(mut stream: UnixStream, broker: &Arc<Broker>) -> io::Result<()> {
    let by = stream.peer_cred().map_or_else(|_| "ctl".to_owned(), |who| format!("ctl, uid {}", who.uid()));
    let who = Requester::Operator(by);
    let mut input = Vec::new();
    loop {
        let line = match timeout(REQUEST_WAIT, read_line(&mut stream, &mut input)).await {
            Ok(Ok(Line::Whole(line))) => line,
            Ok(Ok(Line::TooLong)) => {
                let why = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
                let refusal = Refusal::new(RefusalKind::Invalid, why);
                return write(&mut stream, Reply::Refusal(&refusal)).await;
            }
            Ok(Ok(Line::End)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        };
        match answer(broker, &line, &who).await {
            Ok(Answer::One(told)) => write(&mut stream, Reply::Answer(&told)).await?,
            Ok(Answer::Many(rows)) => write_rows(&mut stream, rows).await?,
            Err(refusal) => write(&mut stream, Reply::Refusal(&refusal)).await?,
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// The next line; what has come of the one after it stays in `input`.
async fn read_line(stream: &mut UnixStream, input: &mut Vec<u8>) -> io::Result<Line> {
    let mut searched = 0;
    loop {
        if let Some(at) = input[searched..].iter().position(|&byte| byte == b'\n') {
            let rest = input.split_off(searched + at + 1);
            let mut line = std::mem::replace(input, rest);
            line.pop();
            let too_long = line.len() > REQUEST_BYTES_MAX;
            return Ok(if too_long { Line::TooLong } else { Line::Whole(line) });
        }
        searched = input.len();
        if searched > REQUEST_BYTES_MAX {
            return Ok(Line::TooLong);
        }
        if stream.read_buf(input).await? == 0 {
            return Ok(Line::End);
        }
    }
}

/// Does what a line asks for, and waits until it is on disk.
async fn answer(broker: &Arc<Broker>, line: &[u8], who: &Requester) -> Result<Answer, Refusal> {
    let operation = serde_json::from_slice(line)
        .map_err(|error| Refusal::new(RefusalKind::Invalid, format!("not an operation: {error}")))?;
    perform_durably(broker, operation, who.clone()).await
}

async fn write_rows(stream: &mut UnixStream, rows: Rows) -> io::Result<()> {
    let mut left = Some(rows);
    while let Some(rows) = left {
        let (mut buffer, rest) =
            spawn_blocking(move || encode_rows(rows)).await.map_err(io::Error::other)??;
        flush(stream, &mut buffer).await?;
        left = rest;
    }
    Ok(())
}

/// A buffer full of rows and those that are left, or the end of the answer.
fn encode_rows(mut rows: Rows) -> io::Result<(Vec<u8>, Option<Rows>)> {
    let mut buffer = Vec::new();
    for row in &mut rows {
        encode(&Reply::Row(&row), &mut buffer)?;
        if buffer.len() >= BUFFER_BYTES {
            return Ok((buffer, Some(rows)));
        }
    }
    encode(&Reply::Answer(&Told::Done), &mut buffer)?;
    Ok((buffer, None))
}

async fn write(stream: &mut UnixStream, reply: Reply<'_>) -> io::Result<()> {
    let mut buffer = Vec::new();
    encode(&reply, &mut buffer)?;
    flush(stream, &mut buffer).await
}

async fn flush(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut written = 0;
    while written < buffer.len() {
        written += timeout(WRITE_WAIT, stream.write(&buffer[written..])).await??;
    }
    buffer.clear();
    Ok(())
}

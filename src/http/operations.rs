//! Any operation of [`crate::admin`] by its name, as `leveret ctl` asks for it: what the paths of
//! RabbitMQ have no room for.
//!
//! The body is an operation as JSON, `{"GROUP": {"NAME": {ARGUMENTS}}}`, or `{"GROUP": "NAME"}`
//! without arguments. One thing is answered as JSON. A list is answered as lines of JSON, a row
//! each, a copy of the data file as bytes; both are made while the client reads them: no more than
//! a few buffers are in memory.

use super::answer::{Fault, aside, json_of};
use super::call::Call;
use super::definitions::VALUES_MAX;
use super::route::{Route, post};
use crate::admin::json_fault::in_words;
use crate::admin::{Answer, Operation, Requester, Rows};
use crate::store::change::CopyParts;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde_json::json;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// The type of lines of JSON.
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// The type of a copy.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Bytes of rows that are made before they are handed on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Such buffers that wait for a client.
const BUFFERS_MAX: usize = 2;

/// How long a client may take none of them.
const READ_WAIT: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Vec<Route> {
    vec![post("/api/operations", "Perform any operation of leveret ctl", perform)]
}

async fn perform(call: Call) -> Result<Response, Fault> {
    let operation = call.body.parse::<Operation>(VALUES_MAX).await?;
    let operation =
        operation.map_err(|error| Fault::bad_request(format!("not an operation: {}", in_words(&error))))?;
    let is_large = matches!(operation, Operation::Definitions(_) | Operation::Messages(_));
    let turn = (is_large && matches!(call.who, Requester::User(_))).then(|| Arc::clone(&call.state.large));
    // Nobody closes it.
    let _turn = match turn {
        Some(large) => large.acquire_owned().await.ok(),
        None => None,
    };
    let by = call.who.log_name();
    match call.perform(operation).await {
        Ok(Answer::One(told)) => {
            call.answer(aside(move || json!(told).to_string().into_bytes()).await?).await
        }
        Ok(Answer::Many(rows)) => Ok(streamed(LINES, Box::new(Buffers(rows)))),
        Ok(Answer::Copy(parts)) => copy(parts, by).await,
        Err(fault) => Ok(refused(fault)),
    }
}

/// A refusal with its kind, from which programs tell what to make of it, and all that it says.
pub(super) fn refused(fault: Fault) -> Response {
    let told = fault.refusal().map(|refusal| json!({"error": refusal.kind, "reason": refusal.message}));
    let answer = fault.into_response();
    let status = answer.status();
    told.map_or(answer, |told| json_of(status, &told))
}

/// A copy, or why none can be made.
async fn copy(mut parts: CopyParts, by: String) -> Result<Response, Fault> {
    let (first, rest) = aside(move || (parts.next(), parts)).await?;
    let first = first.transpose().map_err(|error| Fault::unavailable(error.to_string()))?;
    let parts = Box::new(first.into_iter().map(Ok).chain(rest));
    Ok(streamed(BYTES, Box::new(Copy { parts, by, bytes: 0, is_told: false })))
}

/// A copy, of which the log tells whether the client took it to its end.
struct Copy {
    parts: CopyParts,
    by: String,
    bytes: u64,
    is_told: bool,
}

impl Iterator for Copy {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let by = &self.by;
        match self.parts.next() {
            Some(Ok(part)) => {
                self.bytes += part.len() as u64;
                Some(Ok(part))
            }
            Some(Err(error)) => {
                self.is_told = true;
                warn!(by, %error, "a copy of the data file is incomplete");
                Some(Err(io::Error::other(error)))
            }
            None => {
                self.is_told = true;
                info!(by, bytes = self.bytes, "a copy of the data file is sent");
                None
            }
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.is_told {
            warn!(by = self.by, "a copy of the data file is incomplete: the client left");
        }
    }
}

/// What an answer consists of.
type Parts = Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>;

fn streamed(kind: HeaderValue, parts: Parts) -> Response {
    let (buffers, made) = channel(BUFFERS_MAX);
    tokio::spawn(make(parts, buffers));
    let mut answer = Response::new(Body::new(Streamed { made, has_ended: false }));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Hands on all parts and the end, unless nobody wants more of them.
async fn make(mut parts: Parts, buffers: Sender<Made>) {
    loop {
        let (part, rest) = match spawn_blocking(move || (parts.next(), parts)).await {
            Ok(made) => made,
            Err(panic) => return error!(%panic, "an answer is not finished"),
        };
        let is_last = !matches!(part, Some(Ok(_)));
        let made = part.map_or(Made::End, |part| Made::Part(part.map(Bytes::from)));
        match timeout(READ_WAIT, buffers.send(made)).await {
            Ok(Ok(())) if !is_last => parts = rest,
            _ => return,
        }
    }
}

/// Rows as lines, a buffer at a time.
struct Buffers(Rows);

impl Iterator for Buffers {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut buffer = Vec::new();
        for row in &mut self.0 {
            if let Err(error) = serde_json::to_writer(&mut buffer, &row) {
                return Some(Err(error.into()));
            }
            buffer.push(b'\n');
            if buffer.len() >= BUFFER_BYTES {
                break;
            }
        }
        (!buffer.is_empty()).then_some(Ok(buffer))
    }
}

enum Made {
    Part(io::Result<Bytes>),
    End,
}

/// Parts as a body. One that ends without its end ends the connection, so that nobody takes a part
/// for the whole.
struct Streamed {
    made: Receiver<Made>,
    has_ended: bool,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.made.poll_recv(context).map(|made| match made {
            Some(Made::Part(part)) => Some(part.map(Frame::data)),
            Some(Made::End) => {
                self.has_ended = true;
                None
            }
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}

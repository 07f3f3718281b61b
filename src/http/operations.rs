//! Any operation of [`crate::admin`] by its name, as `leveret ctl` asks for it: what the paths of
//! RabbitMQ have no room for.
//!
//! The body is an operation as JSON, `{"GROUP": {"NAME": {ARGUMENTS}}}`, or `{"GROUP": "NAME"}`
//! without arguments. One thing is answered as JSON. A list is answered as lines of JSON, a row
//! each, made while the client reads them: no more than a few buffers of it are in memory.

use super::answer::{Fault, aside, json_of};
use super::call::Call;
use super::definitions::VALUES_MAX;
use super::route::{Route, post};
use crate::admin::{Answer, Operation, Requester, Rows};
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
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

/// The type of lines of JSON.
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Bytes of rows that are made before they are handed on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Such buffers that wait for a client.
const BUFFERS_MAX: usize = 2;

pub(super) fn routes() -> Vec<Route> {
    vec![post("/api/operations", "Do any operation: what leveret ctl does", perform)]
}

async fn perform(call: Call) -> Result<Response, Fault> {
    let operation = call.body.parse::<Operation>(VALUES_MAX).await?;
    let operation = operation.map_err(|error| Fault::bad_request(format!("not an operation: {error}")))?;
    let is_large = matches!(operation, Operation::Definitions(_) | Operation::Messages(_));
    let turn = (is_large && matches!(call.who, Requester::User(_))).then(|| Arc::clone(&call.state.large));
    // Nobody closes it.
    let _turn = match turn {
        Some(large) => large.acquire_owned().await.ok(),
        None => None,
    };
    match call.perform(operation).await {
        Ok(Answer::One(told)) => {
            call.answer(aside(move || json!(told).to_string().into_bytes()).await?).await
        }
        Ok(Answer::Many(rows)) => Ok(lines(rows)),
        Err(fault) => Ok(refused(fault)),
    }
}

/// A refusal with its kind, from which programs tell what to make of it, and all that it says.
fn refused(fault: Fault) -> Response {
    let told = fault.refusal().map(|refusal| json!({"error": refusal.kind, "reason": refusal.message}));
    let answer = fault.into_response();
    let status = answer.status();
    told.map_or(answer, |told| json_of(status, &told))
}

fn lines(rows: Rows) -> Response {
    let (buffers, made) = channel(BUFFERS_MAX);
    tokio::spawn(make(rows, buffers));
    let mut answer = Response::new(Body::new(Lines(made)));
    answer.headers_mut().insert(CONTENT_TYPE, LINES);
    answer
}

/// Hands on all rows, unless nobody wants more of them.
async fn make(rows: Rows, buffers: Sender<io::Result<Bytes>>) {
    let mut left = Some(rows);
    while let Some(rows) = left {
        let (buffer, rest) = match spawn_blocking(move || encode(rows)).await.map_err(io::Error::other) {
            Ok(Ok((buffer, rest))) => (Ok(buffer), rest),
            Ok(Err(error)) | Err(error) => (Err(error), None),
        };
        if buffers.send(buffer).await.is_err() {
            return;
        }
        left = rest;
    }
}

/// A buffer full of rows and those that are left, if there may be some.
fn encode(mut rows: Rows) -> io::Result<(Bytes, Option<Rows>)> {
    let mut buffer = Vec::new();
    for row in &mut rows {
        serde_json::to_writer(&mut buffer, &row)?;
        buffer.push(b'\n');
        if buffer.len() >= BUFFER_BYTES {
            return Ok((buffer.into(), Some(rows)));
        }
    }
    Ok((buffer.into(), None))
}

/// Rows as a body; an error ends the connection, so that nobody takes a part for the whole.
struct Lines(Receiver<io::Result<Bytes>>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|buffer| buffer.map(|buffer| buffer.map(Frame::data)))
    }
}

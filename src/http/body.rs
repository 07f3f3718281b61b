//! Bodies of requests: read up to a limit, within a time, and all of them together within another
//! limit.

use super::answer::{Fault, aside};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The largest body, in bytes: a message of 16 MiB as base64 fits in it, and so do definitions of
/// 100,000 queues.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;

/// The largest body of somebody who has not logged in, in bytes: a name and a password.
pub(super) const LOGIN_BYTES_MAX: usize = 8 * 1024;

/// Bytes of all bodies that are read or worked on.
const ALL_BYTES_MAX: usize = 64 << 20;

/// A body of more bytes takes milliseconds to be read as JSON.
const ASIDE: usize = 64 * 1024;

/// Values in a body: a table of AMQP has no more of them in a frame of 128 KiB.
const VALUES_MAX: usize = 128 * 1024;

/// Bytes that a permit stands for.
const PERMIT_BYTES: usize = 1024;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(60);

/// The largest body of somebody who is refused that is read nevertheless, in bytes.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;

/// How long such a body may take to arrive.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// A body, and its share of what there is for all of them.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// A body that is being read.
#[derive(Default)]
struct Reading {
    bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

/// Room for all bodies.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ALL_BYTES_MAX / PERMIT_BYTES))
}

/// Reads a body of at most so many bytes to its end.
///
/// # Errors
/// It is too large or too slow, or there are too many.
pub(super) async fn read(body: Body, max: usize, room: &Arc<Semaphore>) -> Result<RequestBody, Fault> {
    timeout(BODY_WAIT, read_all(body, max, room)).await.unwrap_or_else(|_late| {
        let status = StatusCode::REQUEST_TIMEOUT;
        Err(Fault::new(status, "timeout", "the body did not arrive in time"))
    })
}

/// Reads a body of somebody who is refused, and forgets it. Who says its name only when it is asked
/// for it goes on over the same connection, and writes the body before it reads the answer; the
/// connection would end under it.
pub(super) async fn pass_over(mut body: Body) {
    let mut left = REFUSED_BYTES_MAX.checked_sub(body.size_hint().lower()).map(|_fits| REFUSED_BYTES_MAX);
    let passed = async {
        while let Some(room) = left
            && let Some(Ok(frame)) = body.frame().await
        {
            left = room.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
    };
    // Late or not: it is answered.
    let _late = timeout(REFUSED_WAIT, passed).await;
}

async fn read_all(mut body: Body, max: usize, room: &Arc<Semaphore>) -> Result<RequestBody, Fault> {
    if body.size_hint().lower() > max as u64 {
        return Err(Fault::too_large(max));
    }
    let mut read = Reading::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::bad_request(format!("cannot read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.bytes.len() + data.len() > max {
            return Err(Fault::too_large(max));
        }
        read.add(&data, room)?;
    }
    Ok(RequestBody { bytes: Bytes::from(read.bytes), _share: read.share })
}

impl Reading {
    fn add(&mut self, data: &Bytes, room: &Arc<Semaphore>) -> Result<(), Fault> {
        let len = self.bytes.len() + data.len();
        let held = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // It fits, being at most a few thousand.
        let more = u32::try_from(len.div_ceil(PERMIT_BYTES).saturating_sub(held)).unwrap_or(u32::MAX);
        let more = Arc::clone(room).try_acquire_many_owned(more);
        let more = more.map_err(|_full| Fault::unavailable("too many large requests at once: try again"))?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl RequestBody {
    /// The bytes.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The object that it is; an empty one if there is no body.
    ///
    /// # Errors
    /// It is none.
    pub(super) async fn object(&self) -> Result<Map<String, Value>, Fault> {
        if self.bytes.is_empty() {
            return Ok(Map::new());
        }
        self.parse(VALUES_MAX).await?.map_err(|_error| Fault::bad_request("not_json"))
    }

    /// What it is as JSON of at most so many values, or what is wrong with it. One that takes long
    /// to read is read aside.
    ///
    /// # Errors
    /// It has more, or cannot be read now.
    pub(super) async fn parse<T: DeserializeOwned + Send + 'static>(
        &self,
        values_max: usize,
    ) -> Result<serde_json::Result<T>, Fault> {
        let bytes = self.bytes.clone();
        let parse = move || parse_any(&bytes, values_max);
        if self.bytes.len() < ASIDE { parse() } else { aside(parse).await? }
    }
}

/// Reads JSON of at most so many values: each takes up to a hundred bytes, and a body has room for
/// millions of them.
///
/// # Errors
/// It has more, or is no object: what is told then.
pub(super) fn parse(bytes: &[u8], values_max: usize, otherwise: &str) -> Result<Map<String, Value>, Fault> {
    parse_any(bytes, values_max)?.map_err(|_error| Fault::bad_request(otherwise))
}

/// As [`parse`], of any JSON, or what is wrong with it.
///
/// # Errors
/// It has more values.
fn parse_any<T: DeserializeOwned>(bytes: &[u8], values_max: usize) -> Result<serde_json::Result<T>, Fault> {
    if count_values(bytes) > values_max {
        return Err(Fault::bad_request(format!("more than {values_max} values")));
    }
    Ok(serde_json::from_slice(bytes))
}

/// How many values there are in JSON, those in others too, and no fewer if it is none.
fn count_values(bytes: &[u8]) -> usize {
    let (mut count, mut in_text, mut is_escaped) = (1, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_before_they_are_made() {
        for (text, count) in
            [("1", 1), (r#"{"a": 1, "b": [true, {"c": null}]}"#, 6), (r#"{"[,{\",": "\\", "b": "{"}"#, 3)]
        {
            assert_eq!(count_values(text.as_bytes()), count, "{text}");
            // An empty list counts as one with a value in it.
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
        assert!(parse(br#"{"a": [1, 2, 3]}"#, 5, "").is_ok());
        assert!(parse(br#"{"a": [1, 2, 3, 4]}"#, 5, "").is_err());
    }
}

//! Answers, and what is told of what went wrong, in the words of RabbitMQ's management API.

use super::held::{Held, Room};
use crate::admin::{Refusal, RefusalKind};
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::any::Any;
use std::io::Write;
use tokio::task::spawn_blocking;
use tracing::error;

/// What RabbitMQ asks browsers for.
const REALM: &str = "Basic realm=\"RabbitMQ Management\"";

/// A body of fewer bytes is not worth compressing.
const GZIP_MIN: usize = 1024;

/// A body of more bytes takes milliseconds to compress.
const GZIP_ASIDE: usize = 32 * 1024;

/// Why a request is refused: a status, a word for programs and a reason.
#[derive(Debug)]
pub(super) struct Fault(Box<Told>);

#[derive(Debug)]
struct Told {
    status: StatusCode,
    error: &'static str,
    reason: Value,
    /// What the broker says, if it is the broker who refuses.
    refusal: Option<Refusal>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, error: &'static str, reason: impl Into<Value>) -> Self {
        Self(Box::new(Told { status, error, reason: reason.into(), refusal: None }))
    }

    /// 400: the request makes no sense.
    pub(super) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 404: what the path names is not there.
    pub(super) fn no_object() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404: what the request needs is not there.
    pub(super) fn not_found(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 401: whoever asks may not do that.
    pub(super) fn not_authorised(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 401: the password is wrong, or whoever asks has no tag.
    pub(super) fn not_authenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized")
    }

    /// 413.
    pub(super) fn too_large(max: usize) -> Self {
        let reason = format!("a body has at most {max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", reason)
    }

    /// 503: it cannot be done now.
    pub(super) fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
    }

    /// As 404 in the broker's words, where what a body or the path of something new names is not
    /// there.
    pub(super) fn in_words(self) -> Self {
        match &self.0.refusal {
            Some(refusal) if refusal.kind == RefusalKind::NoVHost => Self::not_found("vhost_not_found"),
            Some(refusal) if refusal.kind == RefusalKind::NotFound => {
                Self::not_found(refusal.message.clone())
            }
            _ => self,
        }
    }

    /// In RabbitMQ's form of what is wrong with a parameter, to which policies belong there:
    /// programs look for how it begins.
    pub(super) fn into_validation(self) -> Self {
        match &self.0.refusal {
            Some(refusal) if refusal.kind == RefusalKind::Invalid => {
                Self::bad_request(format!("Validation failed\n\n{}\n", refusal.message))
            }
            _ => self,
        }
    }

    /// As 412, where what is there does not allow it.
    pub(super) fn into_precondition(self) -> Self {
        match &self.0.refusal {
            Some(refusal) if refusal.kind == RefusalKind::Conflict => {
                Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", refusal.message.clone())
            }
            _ => self,
        }
    }

    /// As 409, where what is there does not allow it.
    pub(super) fn into_conflict(self) -> Self {
        match &self.0.refusal {
            Some(refusal) if refusal.kind == RefusalKind::Conflict => {
                Self::new(StatusCode::CONFLICT, "conflict", refusal.message.clone())
            }
            _ => self,
        }
    }

    /// What the broker says, if it is the broker who refuses.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.as_ref()
    }

    /// Whether what the path names is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.0.status == StatusCode::NOT_FOUND
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let mut fault = match refusal.kind {
            RefusalKind::NotFound | RefusalKind::NoUser | RefusalKind::NoVHost => Self::no_object(),
            RefusalKind::HiddenVHost => Self::not_found("Not Found"),
            RefusalKind::Forbidden | RefusalKind::Denied => Self::not_authorised(refusal.message.clone()),
            RefusalKind::UserExists | RefusalKind::Conflict | RefusalKind::Invalid => {
                Self::bad_request(refusal.message.clone())
            }
            RefusalKind::Unavailable => Self::unavailable(refusal.message.clone()),
        };
        fault.0.refusal = Some(refusal);
        fault
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Told { status, error, reason, .. } = *self.0;
        json_of(status, &json!({"error": error, "reason": reason}))
    }
}

/// 401 without a body: who asks has not said who it is. A browser that is told the realm opens a
/// dialog of its own, which is not for a script.
pub(super) fn who_are_you(is_from_script: bool) -> Response {
    let mut answer = StatusCode::UNAUTHORIZED.into_response();
    if is_from_script {
        return answer;
    }
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
    answer
}

/// 405, or for OPTIONS 200: what may be done with a path.
pub(super) fn allowed(status: StatusCode, methods: &str) -> Response {
    let mut answer = status.into_response();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        answer.headers_mut().insert(ALLOW, methods);
    }
    answer
}

/// Something as JSON, with that status.
pub(super) fn json_of(status: StatusCode, value: &Value) -> Response {
    let mut answer = (status, value.to_string()).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// 201 for what was not there before, 204 for what was.
pub(super) fn put(is_new: bool) -> Response {
    if is_new { StatusCode::CREATED.into_response() } else { done() }
}

/// 204.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 200 with JSON, which is compressed if it is worth it and the client takes that; once there is
/// room for it, if it is large.
///
/// # Errors
/// There is none.
pub(super) async fn json_text(text: Vec<u8>, takes_gzip: bool, room: &Room) -> Result<Response, Fault> {
    let zips = takes_gzip && text.len() >= GZIP_MIN;
    let body = match text.len() {
        _ if !zips => text,
        ..GZIP_ASIDE => gzip(&text),
        _ => spawn_blocking(move || gzip(&text)).await.unwrap_or_default(),
    };
    let mut answer = Response::new(Body::new(Held::of(body, room).await?));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if zips {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(answer)
}

/// Does what takes milliseconds on a thread on which nobody else waits.
///
/// # Errors
/// It panicked.
pub(super) async fn aside<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Fault> {
    let done = any_aside(Box::new(|| Box::new(work()))).await?;
    done.downcast().map(|done| *done).map_err(|_none| fault_of_request())
}

/// The runtime's part, which is compiled once, and not for each kind of work.
async fn any_aside(
    work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
) -> Result<Box<dyn Any + Send>, Fault> {
    spawn_blocking(work).await.map_err(|fault| {
        error!(%fault, "a request panicked");
        fault_of_request()
    })
}

fn fault_of_request() -> Fault {
    Fault::unavailable("the request failed by a fault of the broker: see its log")
}

pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _always = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// What every answer says to browsers and caches.
pub(super) fn finish(answer: &mut Response) {
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.append(VARY, HeaderValue::from_static("accept, accept-encoding, origin"));
    for (name, value) in [
        ("content-security-policy", "default-src 'self'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

//! What some paths answer, as it changes: server-sent events for pages that show it.
//!
//! Each path is asked anew at an interval, as the one who asks could ask for it, with the same
//! password or cookie; what differs from the last answer is told.

use super::answer::Fault;
use super::call::Call;
use super::route::{GET, Route, of_request};
use super::state::{Line, Peer};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Request};
use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::Frame;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, interval, timeout_at};

/// Paths of a stream, at most.
const PATHS_MAX: usize = 8;

/// How often paths are asked, where the request does not say.
const INTERVAL_MS: u64 = 2000;

/// How often they may be asked.
const INTERVALS_MS: std::ops::RangeInclusive<u64> = 1000..=60_000;

/// How often something is said, so that it is noticed when the other end is gone.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What is said then: an event, since scripts do not see comments.
const PING: &[u8] = b"event: ping\ndata: {}\n\n";

/// The longest answer that is told, in bytes.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Events that wait for a client that does not read.
const EVENTS_MAX: usize = 2;

/// Where requests of a stream are answered.
#[derive(Clone)]
pub(super) struct Inner(pub(super) Router);

pub(super) fn routes() -> Vec<Route> {
    vec![of_request(GET, "/api/stream", "Stream the responses of some paths as they change", stream)]
}

async fn stream(
    Extension(Inner(router)): Extension<Inner>,
    Extension(peer): Extension<Peer>,
    Extension(line): Extension<Line>,
    call: Call,
) -> Result<Response, Fault> {
    let paths: Vec<&str> = call.query.all("path").collect();
    if paths.is_empty() || paths.len() > PATHS_MAX {
        return Err(Fault::bad_request(format!("1 to {PATHS_MAX} paths are needed, not {}", paths.len())));
    }
    let every = call.query.get("interval").map_or(Ok(INTERVAL_MS), str::parse);
    let every = every.ok().filter(|every| INTERVALS_MS.contains(every)).ok_or_else(|| {
        let (min, max) = INTERVALS_MS.into_inner();
        Fault::bad_request(format!("the interval is {min} to {max} ms"))
    })?;
    let watched = paths.into_iter().map(Watched::of).collect::<Result<Vec<_>, _>>()?;
    // Nobody closes it.
    let place = Arc::clone(&call.state.streams).try_acquire_owned();
    let place = place.map_err(|_full| Fault::unavailable("too many streams at once: try again"))?;
    let (events, told) = channel(EVENTS_MAX);
    let asking = Asking { router, peer, headers: headers(&call.headers) };
    tokio::spawn(async move {
        tokio::select! {
            _gone = watch(&asking, watched, (Duration::from_millis(every), PING_EVERY), &events) => {}
            // Who has nothing more to say may still read an answer, but this has no end.
            () = line.ended() => {}
        }
        drop(place);
    });
    let mut answer = Response::new(Body::new(Events(told)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The headers that say who asks.
fn headers(given: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [AUTHORIZATION, COOKIE] {
        for value in given.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// A path, and what it answered last.
struct Watched {
    path: String,
    uri: Uri,
    last: Option<u64>,
}

impl Watched {
    fn of(path: &str) -> Result<Self, Fault> {
        let uri: Option<Uri> = path.parse().ok();
        let uri = uri.filter(|uri| {
            let path = uri.path();
            uri.authority().is_none() && path.starts_with("/api/") && !path.starts_with("/api/stream")
        });
        let uri = uri.ok_or_else(|| Fault::bad_request(format!("'{path}' cannot be watched")))?;
        Ok(Self { path: path.to_owned(), uri, last: None })
    }
}

/// How each path is asked.
struct Asking {
    router: Router,
    peer: Peer,
    headers: HeaderMap,
}

impl Asking {
    async fn ask(&self, uri: &Uri) -> (StatusCode, Bytes) {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.extensions_mut().insert(self.peer);
        let Ok(answer) = TowerToHyperService::new(self.router.clone()).call(request).await;
        let status = answer.status();
        match Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await {
            Ok(body) => (status, body.to_bytes()),
            Err(_too_long) => (StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()),
        }
    }

    /// Whether who asks is still let in, and only some path is not for it.
    async fn is_logged_in(&self) -> bool {
        self.ask(&Uri::from_static("/api/session")).await.0 == StatusCode::OK
    }
}

/// Tells what changes, until nobody hears it.
///
/// # Errors
/// Nobody does.
async fn watch(
    asking: &Asking,
    mut watched: Vec<Watched>,
    (every, ping_every): (Duration, Duration),
    events: &Sender<Bytes>,
) -> Result<(), Gone> {
    let mut ticks = interval(every);
    let mut ping_at = Instant::now() + ping_every;
    loop {
        let waited = tokio::select! {
            waited = timeout_at(ping_at, ticks.tick()) => waited,
            () = events.closed() => return Err(Gone),
        };
        if waited.is_err() {
            tell(events, Bytes::from_static(PING)).await?;
            ping_at += ping_every;
            continue;
        }
        for Watched { path, uri, last } in &mut watched {
            let (status, body) = asking.ask(uri).await;
            let mut hasher = DefaultHasher::new();
            (status.as_u16(), &body).hash(&mut hasher);
            let hash = hasher.finish();
            if *last != Some(hash) {
                *last = Some(hash);
                tell(events, event(path, status, &body)).await?;
            }
            if status == StatusCode::UNAUTHORIZED && !asking.is_logged_in().await {
                return Ok(());
            }
        }
    }
}

/// Nobody hears it any more.
struct Gone;

async fn tell(events: &Sender<Bytes>, event: Bytes) -> Result<(), Gone> {
    events.send(event).await.map_err(|_closed| Gone)
}

/// An event; JSON has no line breaks.
fn event(path: &str, status: StatusCode, body: &Bytes) -> Bytes {
    let body = if body.is_empty() { b"null".as_slice() } else { body };
    let head =
        format!("event: update\ndata: {{\"path\":{},\"status\":{},\"body\":", json!(path), status.as_u16());
    Bytes::from([head.as_bytes(), body, b"}\n\n"].concat())
}

/// Events as a body.
struct Events(Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    fn asking() -> Asking {
        let peer = Peer::Address { address: SocketAddr::from(([127, 0, 0, 1], 1)), by_tls: false };
        Asking { router: Router::new(), peer, headers: HeaderMap::new() }
    }

    /// Pages open another stream for each page that is shown.
    #[test]
    fn a_stream_ends_as_soon_as_nobody_hears_it() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (events, told) = channel(EVENTS_MAX);
            let hour = Duration::from_secs(3600);
            let asking = asking();
            drop(told);
            let ended = timeout(Duration::from_secs(60), watch(&asking, Vec::new(), (hour, hour), &events));
            assert!(ended.await.is_ok());
        });
    }

    #[test]
    fn a_stream_of_which_nothing_changes_says_that_it_is_there() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let asking = asking();
            let (events, mut told) = channel(EVENTS_MAX);
            let rhythm = (Duration::from_secs(3600), Duration::from_millis(1));
            tokio::select! {
                _gone = watch(&asking, Vec::new(), rhythm, &events) => panic!("it has ended"),
                said = told.recv() => assert_eq!(said.as_deref(), Some(PING)),
            }
        });
    }
}

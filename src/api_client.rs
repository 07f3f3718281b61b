//! A client of the management API: of the broker whose data is in a folder, by the
//! socket there, or of one elsewhere, by its URL. What the command line programs are built on.
//!
//! Calls block; each has a time after which it is given up when nothing comes.

use crate::admin::Password;
use crate::config::control::socket;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::Url;

pub use hyper::Method;

/// How long the broker may say nothing, where nothing else is asked for: longer than it waits for
/// its disk.
pub const WAIT: Duration = Duration::from_secs(60);

/// The largest answer that is taken as a whole, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// The port that the management API has by default, for whoever named another.
const HINT: &str = "name the port of the management API, by default 15672";

/// How long whatever listens at a URL may take to show what it speaks.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// What is said to a port to see what it speaks.
const PROBE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The first bytes of an alert of TLS (RFC 8446 section 5.1).
const TLS_ALERT: &[u8] = &[21, 3];

/// Where a broker is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// On this machine, with its data in this folder.
    Folder(PathBuf),
    /// Somewhere.
    Url {
        /// Its address, with `http` or `https`.
        url: Url,
        /// Who asks.
        user: String,
        /// With which password.
        password: Password,
        /// The file of the authority's certificate; if none, those that the system trusts count.
        ca: Option<PathBuf>,
    },
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ApiError {
    /// There is no broker, or it does not answer.
    Unreachable(String),
    /// What listens there speaks something else.
    OtherProtocol(String),
    /// Whoever asks may not talk to it.
    NoRight(String),
    /// What came makes no sense.
    Garbled(String),
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    target: Endpoint,
    wait: Duration,
    requests: SendRequest<Full<Bytes>>,
    /// There was an answer: what listens there speaks HTTP.
    is_http: bool,
}

/// What the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// JSON, or nothing.
    Json,
    /// JSON a line.
    Lines,
    /// Bytes for a file.
    Bytes,
}

/// An answer whose body has not come yet.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What its body is.
    pub kind: BodyKind,
    body: Incoming,
    /// What has come of a line whose end has not.
    rest: Vec<u8>,
    /// How much of it was searched for an end.
    searched: usize,
}

impl Client {
    /// Connects; `wait` is how long the broker may say nothing.
    ///
    /// # Errors
    /// There is no broker, or it may not be talked to.
    pub fn connect(target: Endpoint, wait: Duration) -> Result<Self, ApiError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| ApiError::Unreachable(format!("cannot start a runtime: {error}")))?;
        let requests = runtime.block_on(within(wait, open(&target)))??;
        Ok(Self { runtime, target, wait, requests, is_http: false })
    }

    /// The data folder, if that is how the broker was found.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.target {
            Endpoint::Folder(folder) => Some(folder),
            Endpoint::Url { .. } => None,
        }
    }

    /// Asks for something at a path, whose names are [`encoded`].
    ///
    /// # Errors
    /// The broker is gone, or does not answer in time.
    pub fn ask(&mut self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, ApiError> {
        let request = request(&self.target, method, path, body)?;
        if self.requests.is_closed() {
            self.requests = self.runtime.block_on(within(self.wait, open(&self.target)))??;
        }
        let answer = self.runtime.block_on(within(self.wait, self.requests.send_request(request)))?;
        let answer = match (answer, &self.target) {
            (Err(error), Endpoint::Url { url, ca, .. }) if !self.is_http && !error.is_user() => {
                let probe = other_protocol(url, reach(url, ca.as_deref()), || lost(&error));
                return Err(self.runtime.block_on(probe));
            }
            (answer, _) => answer.map_err(|error| lost(&error))?,
        };
        self.is_http = true;
        let (head, body) = answer.into_parts();
        let kind = match head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(b"application/x-ndjson") => BodyKind::Lines,
            Some(b"application/octet-stream") => BodyKind::Bytes,
            _ => BodyKind::Json,
        };
        Ok(Answer { status: head.status.as_u16(), kind, body, rest: Vec::new(), searched: 0 })
    }

    /// The next bytes of an answer, or nothing at its end.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn part(&self, answer: &mut Answer) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = self.runtime.block_on(within(self.wait, answer.body.frame()))?;
            let Some(frame) = frame.transpose().map_err(|error| lost(&error))? else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The next line of an answer, or nothing at its end.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn line(&self, answer: &mut Answer) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(end) = answer.rest[answer.searched..].iter().position(|&byte| byte == b'\n') {
                let rest = answer.rest.split_off(answer.searched + end + 1);
                answer.searched = 0;
                return Ok(Some(std::mem::replace(&mut answer.rest, rest)));
            }
            answer.searched = answer.rest.len();
            match self.part(answer)? {
                Some(part) => answer.rest.extend_from_slice(&part),
                None if answer.rest.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut answer.rest))),
            }
        }
    }

    /// The whole body of an answer.
    ///
    /// # Errors
    /// As [`Self::ask`]; or it is larger than any answer.
    pub fn whole(&self, mut answer: Answer) -> Result<Vec<u8>, ApiError> {
        let mut whole = Vec::new();
        while let Some(part) = self.part(&mut answer)? {
            if whole.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(ApiError::Garbled(format!("more than {ANSWER_BYTES_MAX} bytes")));
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }
}

/// A name as a part of a path.
#[must_use]
pub fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

async fn within<T>(wait: Duration, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let late = || format!("the broker did not answer within {} s", wait.as_secs());
    timeout(wait, work).await.map_err(|_late| ApiError::Unreachable(late()))
}

fn lost(error: &hyper::Error) -> ApiError {
    if error.is_parse() {
        return ApiError::Garbled(error.to_string());
    }
    ApiError::Unreachable(format!("lost the connection to the broker: {error}"))
}

/// A request with what it says of where it goes and who asks.
fn request(
    target: &Endpoint,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, ApiError> {
    let request = Request::builder().method(method).header(CONTENT_TYPE, "application/json");
    let request = match target {
        Endpoint::Folder(_) => request.uri(path).header(HOST, "localhost"),
        Endpoint::Url { url, user, password, ca: _ } => {
            let own = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.0)));
            let host = url.host_str().unwrap_or_default();
            let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let path = format!("{}{path}", url.path().trim_end_matches('/'));
            request.uri(path).header(HOST, host).header(AUTHORIZATION, own)
        }
    };
    let body = Full::new(Bytes::from(body));
    request.body(body).map_err(|error| ApiError::Garbled(format!("{path}: {error}")))
}

async fn open(target: &Endpoint) -> Result<SendRequest<Full<Bytes>>, ApiError> {
    match target {
        Endpoint::Folder(folder) => {
            let path = socket(folder).map_err(ApiError::Unreachable)?;
            let stream = UnixStream::connect(&path).await;
            speak(Box::new(stream.map_err(|error| no_socket(folder, &path, &error))?)).await
        }
        Endpoint::Url { url, ca, .. } => {
            let unreachable = |error: io::Error| {
                let hint = match error.kind() {
                    ErrorKind::ConnectionRefused => format!(" (nothing listens there: {HINT})"),
                    _ => String::new(),
                };
                ApiError::Unreachable(format!("cannot reach the broker at {url}: {error}{hint}"))
            };
            let (host, port) = host_and_port(url);
            let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
            if url.scheme() == "https" {
                return match tls::connect(stream, host, ca.as_deref()).await {
                    Ok(stream) => speak(Box::new(stream)).await,
                    Err(error) => Err(other_protocol(url, reach_plain(url), || unreachable(error)).await),
                };
            }
            speak(Box::new(stream)).await
        }
    }
}

fn host_and_port(url: &Url) -> (&str, u16) {
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address is in brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, url.port_or_known_default().unwrap_or_default())
}

/// A new connection to where a URL is, over TLS if it says so.
async fn reach(url: &Url, ca: Option<&Path>) -> io::Result<Box<dyn tls::Stream>> {
    let (host, port) = host_and_port(url);
    let stream = TcpStream::connect((host, port)).await?;
    if url.scheme() == "https" {
        return Ok(Box::new(tls::connect(stream, host, ca).await?));
    }
    Ok(Box::new(stream))
}

/// As [`reach`], without TLS.
async fn reach_plain(url: &Url) -> io::Result<Box<dyn tls::Stream>> {
    Ok(Box::new(TcpStream::connect(host_and_port(url)).await?))
}

/// What is wrong with a URL at which nobody speaks its protocol, by what is spoken there instead on
/// a new connection; `otherwise`, if that is not known.
async fn other_protocol(
    url: &Url,
    reached: impl Future<Output = io::Result<Box<dyn tls::Stream>>>,
    otherwise: impl FnOnce() -> ApiError,
) -> ApiError {
    let first = async { first_bytes(reached.await?).await };
    let first = timeout(PROBE_WAIT, first).await.ok().and_then(Result::ok).unwrap_or_default();
    let (is_tls, (_, port)) = (url.scheme() == "https", host_and_port(url));
    let place = format!("{}:{port}", url.host_str().unwrap_or_default());
    let why = if first.starts_with(b"AMQP") {
        format!("{place} speaks AMQP, not HTTP: {HINT}")
    } else if first.starts_with(TLS_ALERT) && !is_tls {
        format!("{place} speaks TLS: try https://{place}, if that is the port of the management API")
    } else if first.starts_with(b"HTTP/") && is_tls {
        format!("{place} speaks HTTP without TLS: try http://{place}")
    } else if is_tls {
        return otherwise();
    } else {
        format!("{place} does not speak HTTP: {HINT}")
    };
    ApiError::OtherProtocol(why)
}

/// The first bytes that come as the answer to a request.
async fn first_bytes(mut stream: Box<dyn tls::Stream>) -> io::Result<Vec<u8>> {
    stream.write_all(PROBE).await?;
    let mut first = vec![0; 8];
    let count = stream.read(&mut first).await?;
    first.truncate(count);
    Ok(first)
}

/// A connection that HTTP is spoken on from now on.
async fn speak(stream: Box<dyn tls::Stream>) -> Result<SendRequest<Full<Bytes>>, ApiError> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    // Who waits for an answer is told what goes wrong.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok(requests)
}

fn no_socket(folder: &Path, path: &Path, error: &io::Error) -> ApiError {
    let (path, shown) = (path.display(), folder.display());
    match error.kind() {
        ErrorKind::NotFound => ApiError::Unreachable(format!(
            "no broker is running on the data in {shown} (there is no {path}): is that its data folder (--data-dir)?"
        )),
        ErrorKind::ConnectionRefused => ApiError::Unreachable(format!(
            "no broker is running on the data in {shown} (nothing listens on {path})"
        )),
        ErrorKind::PermissionDenied => {
            let owner = fs::metadata(folder).map(|folder| format!(" (uid {})", folder.uid()));
            let owner = owner.unwrap_or_default();
            ApiError::NoRight(format!(
                "no permission to use {path}: run this as the user that runs the broker{owner}, or as root"
            ))
        }
        _ => ApiError::Unreachable(format!("cannot reach the broker on {path}: {error}")),
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::OtherProtocol(why) | Self::NoRight(why) => f.write_str(why),
            Self::Garbled(what) => write!(f, "unexpected answer from the broker: {what}"),
        }
    }
}

impl std::error::Error for ApiError {}

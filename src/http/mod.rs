//! The HTTP port: RabbitMQ's management API, the web pages, health and metrics.
//!
//! A small server for operators' tools, apart from the AMQP one: its connections, heads, bodies and
//! waits have limits of their own, so that whatever happens here costs the broker little; and it
//! has a thread of its own, so that whatever happens there does not keep health waiting.
//!
//! Everything is done by operations of [`crate::admin`], with the permissions of the user who asks;
//! no handler locks a queue or reads the disk on this thread.
//!
//! | file | holds |
//! |---|---|
//! | `routes`, `route` | the table of all paths, which each subject adds its rows to |
//! | `call` | a request as those who answer it get it: who asks, names, query, body |
//! | `answer` | answers and faults, in RabbitMQ's words |
//! | `list`, `columns` | filters, order, pages and columns of all lists |
//! | `browse`, `jobs` | messages of a queue where they are, and moved to elsewhere |
//! | `stream` | what paths answer, as it changes: server-sent events |
//! | `head`, `body` | what is read of a request, and what of it is refused |
//! | `login`, `sessions` | who asks |
//! | `ui` | the web pages: files in the program, which ask nobody who he is |
//! | `operations` | any operation by its name, for `leveret ctl` |
//! | `socket` | the operators' socket in the data folder |
//! | `router` | `/healthz` and `/metrics`, which ask nobody who he is |
//! | `follower` | all that a node of a cluster answers while it does not lead |

mod answer;
mod bindings;
mod body;
mod browse;
mod call;
mod columns;
mod connection_slots;
mod connections;
mod cors;
mod definitions;
mod exchanges;
mod exposition;
mod families;
mod features;
mod follower;
mod given;
mod head;
mod health;
mod held;
mod jobs;
mod list;
mod login;
mod messages;
mod metrics;
mod nodes;
mod openapi;
mod operations;
mod overview;
mod permissions;
mod policies;
mod prometheus;
mod query;
mod queues;
mod route;
mod router;
mod routes;
mod sessions;
mod socket;
mod state;
mod statistics;
mod stream;
mod ui;
mod users;
mod vhosts;

pub use self::follower::serve_following;
pub use self::socket::Socket;
pub use self::state::Listener;

use self::connection_slots::{ConnectionSlot, ConnectionSlots};
use self::state::{Line, Peer, State};
use self::stream::Inner;
use crate::broker::Broker;
use crate::clock;
use crate::tls::{Certificates, Stream};
use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, error, warn};

/// The longest request head, in bytes. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long a client may take to send its next request's head.
const HEAD_WAIT: Duration = Duration::from_secs(30);

/// How long a connection takes requests; the answer that is being sent then still ends.
const CONNECTION_WAIT: Duration = Duration::from_secs(300);

/// How long a client may read nothing of an answer.
const READ_WAIT: Duration = Duration::from_secs(60);

/// Connections by the ports at a time.
const CONNECTIONS_MAX: usize = 64;

/// Connections by the operators' socket at a time: an operator and his scripts.
const OPERATORS_MAX: usize = 16;

/// How long to wait when the system cannot accept.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Where HTTP is served.
pub struct Port {
    /// The socket.
    pub listener: TcpListener,
    /// What is shown to clients, if TLS is spoken there.
    pub certificates: Option<Arc<Certificates>>,
}

/// What is served.
pub struct Served {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Where it listens, which is told.
    pub listeners: Vec<Listener>,
    /// Origins whose pages may use the API; `*` for all.
    pub allow_origins: Vec<String>,
    /// What those of its listeners show that speak TLS.
    pub certificates: Option<Arc<Certificates>>,
}

/// Serves on all ports and on the operators' socket, on a thread of its own, until the future is
/// dropped, and with it the socket; comes back only after a fault of the broker.
pub async fn serve(ports: Vec<Port>, socket: Option<Arc<Socket>>, served: Served) {
    let router = |served| router::all(&Arc::new(State::new(served)));
    serve_with(ports, socket, move || router(served), Duration::ZERO).await;
}

/// As [`serve`], with the paths that `router` makes on that thread; requests that have come when
/// the future is dropped may take so long.
async fn serve_with(
    ports: Vec<Port>,
    socket: Option<Arc<Socket>>,
    router: impl FnOnce() -> Router + Send + 'static,
    rest: Duration,
) {
    // Dropped when this future is, which ends the thread.
    let (_stop, stopped) = oneshot::channel::<()>();
    let (ended, has_ended) = oneshot::channel::<()>();
    let operators = socket.as_ref().map(|socket| socket.listener.try_clone()).transpose();
    let ports = ports.into_iter().map(|port| Ok((port.listener.into_std()?, port.certificates)));
    let ports = ports.collect::<io::Result<Vec<_>>>();
    let started = ports.and_then(|ports| Ok((ports, operators?))).and_then(|(ports, operators)| {
        thread::Builder::new().name("leveret-http".to_owned()).spawn(move || {
            // Dropped with the thread, whatever ends it.
            let _ended = ended;
            if let Err(error) = run(ports, operators, router, async {
                // Nothing is ever sent.
                let _dropped = stopped.await;
                rest
            }) {
                error!(%error, "cannot serve HTTP");
            }
        })
    });
    if let Err(error) = started {
        error!(%error, "cannot start a thread for HTTP");
    }
    // Nothing is ever sent.
    let _dropped = has_ended.await;
}

/// A socket that is not in a runtime yet, and what is shown to clients there.
type StdPort = (StdListener, Option<Arc<Certificates>>);

/// Serves until `stopped` says so, and how much longer what has come may take.
fn run(
    ports: Vec<StdPort>,
    operators: Option<StdUnixListener>,
    router: impl FnOnce() -> Router,
    stopped: impl Future<Output = Duration>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = router();
        let places = ConnectionSlots::new(CONNECTIONS_MAX);
        let mut accepting = JoinSet::new();
        for (listener, certificates) in ports {
            let listener = TcpListener::from_std(listener)?;
            accepting.spawn(accept(listener, certificates, router.clone(), Arc::clone(&places)));
        }
        if let Some(operators) = operators {
            operators.set_nonblocking(true)?;
            accepting.spawn(accept_operators(UnixListener::from_std(operators)?, router));
        }
        let rest = tokio::select! {
            // None of them ends by itself.
            _panic = accepting.join_next() => Duration::ZERO,
            rest = stopped => rest,
        };
        accepting.shutdown().await;
        sleep(rest).await;
        Ok(())
    })
}

async fn accept(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    router: Router,
    places: Arc<ConnectionSlots>,
) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let (place, given_up) = places.enter(address.ip());
                let serving = receive(socket, address, certificates.clone(), (router.clone(), place));
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        _other = given_up => debug!(peer = %address, "HTTP connection closed: it was idle and others were waiting"),
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept HTTP connections; trying again");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn accept_operators(listener: UnixListener, router: Router) {
    let places = ConnectionSlots::new(OPERATORS_MAX);
    loop {
        match listener.accept().await {
            Ok((socket, _unnamed)) => {
                let uid = socket.peer_cred().ok().map(|who| who.uid());
                let (place, given_up) = places.enter(Ipv4Addr::UNSPECIFIED.into());
                let peer = (Peer::Operator(uid), Line::default());
                let serving = attend(Box::new(socket), peer, router.clone(), place);
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        _other = given_up => debug!("an operator's connection closed: there are too many"),
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept connections of leveret ctl; trying again");
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Shakes hands, where TLS is spoken, and answers what comes.
async fn receive(
    socket: TcpStream,
    address: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    (router, place): (Router, ConnectionSlot),
) {
    let line = match Line::of(&socket) {
        Ok(line) => line,
        Err(error) => return warn!(%error, "cannot serve an HTTP connection"),
    };
    let peer = Peer::Address { address, by_tls: certificates.is_some() };
    let Some(certificates) = certificates else {
        return attend(Box::new(socket), (peer, line), router, place).await;
    };
    let handshake = certificates.open_acceptor(clock::mono_ms()).accept(socket);
    match timeout(HEAD_WAIT, handshake).await {
        Ok(Ok(socket)) => attend(Box::new(socket), (peer, line), router, place).await,
        Ok(Err(error)) => debug!(peer = %address, %error, "TLS handshake failed"),
        Err(_late) => debug!(peer = %address, "TLS handshake took too long"),
    }
}

/// Answers what comes on one connection.
async fn attend(socket: Box<dyn Stream>, (peer, line): (Peer, Line), router: Router, place: ConnectionSlot) {
    let (inner, router) = (Inner(router.clone()), TowerToHyperService::new(router));
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = place.begin();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(line.clone());
        request.extensions_mut().insert(inner.clone());
        normalize(request.uri_mut());
        let answered = head::check(&request).map(|()| router.call(request));
        async move {
            let answer = match answered {
                Ok(answering) => answering.await?,
                Err(fault) => last(fault.into_response()),
            };
            Ok::<_, Infallible>(answer.map(|body| Body::new(busy.until_read(body))))
        }
    });
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(READ_WAIT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        // Who says that nothing more comes still waits for the answer.
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Box::pin(socket)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = sleep(CONNECTION_WAIT) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "HTTP connection ended");
    }
}

/// An answer after which the connection ends.
fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A path as it is routed: without a slash at its end, and with a name for the default exchange,
/// which has none.
fn normalize(uri: &mut Uri) {
    let path = uri.path();
    if !path.contains("//") && (!path.ends_with('/') || path == "/") {
        return;
    }
    let mut plain = path.trim_end_matches('/').replace("/e//", "/e/amq.default/");
    if let Some(query) = uri.query() {
        plain.push('?');
        plain.push_str(query);
    }
    if let Ok(plain) = plain.parse() {
        *uri = plain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    /// Bytes of the answer, and of what is sent of it before somebody reads.
    const ANSWER: usize = 64 * 1024;
    const BUFFER: usize = 1024;

    /// Asks for a long answer, on a connection that is attended.
    async fn ask() -> (DuplexStream, JoinHandle<()>) {
        let (mut client, server) = duplex(BUFFER);
        let router = Router::new().route("/", get(|| async { "x".repeat(ANSWER) }));
        let (place, _stays) = ConnectionSlots::new(1).enter(Ipv4Addr::LOCALHOST.into());
        let peer = (Peer::Operator(None), Line::default());
        let attending = tokio::spawn(async move { attend(Box::new(server), peer, router, place).await });
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("there is room for it");
        (client, attending)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_all_of_its_answer() {
        let (mut client, attending) = ask().await;
        let (began, mut read) = (Instant::now(), 0);
        loop {
            sleep(READ_WAIT / 2).await;
            match client.read(&mut [0; BUFFER]).await.expect("it can be read") {
                0 => break,
                n => read += n,
            }
        }
        assert!(read > ANSWER, "{read} bytes, with a head");
        assert!(began.elapsed() > 2 * CONNECTION_WAIT);
        attending.await.expect("it ends with the answer, as it has lasted for long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_let_go() {
        let (_client, attending) = ask().await;
        timeout(2 * READ_WAIT, attending).await.expect("it ends").expect("without a panic");
    }
}

//! What all requests share.

use super::Served;
use super::body;
use super::held::Room;
use super::sessions::Sessions;
use crate::broker::Broker;
use crate::tls::Certificates;
use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Operations that are performed at a time: more would only wait for the same processors.
const WORK_MAX: usize = 8;

/// Lists that are made at a time, each of which may have 100,000 rows in memory.
const LISTS_MAX: usize = 2;

/// Answers of many MiB that are made at a time: messages that are fetched, all definitions. Each
/// keeps a processor busy, and the other one is for the clients of AMQP.
const LARGE_MAX: usize = 1;

/// Streams of events at a time: half of the connections there may be.
const STREAMS_MAX: usize = 32;

/// What all requests share.
pub(super) struct State {
    pub(super) broker: Arc<Broker>,
    /// Where the broker listens.
    pub(super) listeners: Vec<Listener>,
    /// Origins whose pages may use the API; `*` for all.
    pub(super) allow_origins: Vec<String>,
    /// What those of its listeners show that speak TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// The name of the node, as RabbitMQ's tools know one.
    pub(super) node: String,
    pub(super) sessions: Sessions,
    /// A permit for each operation that may run.
    pub(super) work: Arc<Semaphore>,
    /// A permit for each list that may be made.
    pub(super) lists: Arc<Semaphore>,
    /// A permit for each answer of many MiB that may be made.
    pub(super) large: Arc<Semaphore>,
    /// A permit for each stream of events.
    pub(super) streams: Arc<Semaphore>,
    /// A permit to make the page of metrics.
    pub(super) metrics: Arc<Semaphore>,
    /// Room for large answers that are not read yet.
    pub(super) answers: Arc<Room>,
    /// Room for the bodies of requests.
    pub(super) bodies: Arc<Semaphore>,
    /// Room for those of operators.
    pub(super) operator_bodies: Arc<Semaphore>,
}

/// Where the broker listens, and what is spoken there.
#[derive(Debug, Clone)]
pub struct Listener {
    /// `amqp`, `amqp/ssl`, `http` or `https`.
    pub protocol: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// From an address, by a port.
    Address {
        address: SocketAddr,
        /// Over TLS.
        by_tls: bool,
    },
    /// By the operators' socket: the uid, if the system says it.
    Operator(Option<u32>),
}

/// The connection that a request came by, to look whether its client has ended its side. A request
/// is answered all the same, but what goes on for ever would never end.
/// That of operators is not looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Option<Arc<StdTcpStream>>);

impl Line {
    /// The line of a connection.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self(Some(Arc::new(socket.as_fd().try_clone_to_owned()?.into()))))
    }

    /// Comes back when the client has ended its side, or the connection is broken.
    pub(super) async fn ended(&self) {
        let Some(socket) = &self.0 else { return pending().await };
        let Ok(socket) = socket.try_clone().and_then(TcpStream::from_std) else { return };
        while let Ok(ready) = socket.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // What came is for others to read: this waits until more happens.
            let _cleared = socket
                .try_io(Interest::READABLE, || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock)));
        }
    }
}

impl State {
    pub(super) fn new(served: Served) -> Self {
        let Served { broker, listeners, allow_origins, certificates } = served;
        let memory = broker.alarms().limits().memory_bytes;
        Self {
            node: broker.node_name().to_owned(),
            broker,
            listeners,
            allow_origins,
            certificates,
            sessions: Sessions::default(),
            work: Arc::new(Semaphore::new(WORK_MAX)),
            lists: Arc::new(Semaphore::new(LISTS_MAX)),
            large: Arc::new(Semaphore::new(LARGE_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            metrics: Arc::new(Semaphore::new(1)),
            answers: Arc::new(Room::for_memory(memory)),
            bodies: body::room(),
            operator_bodies: body::room(),
        }
    }
}

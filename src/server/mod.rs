//! The tokio shell around sessions: sockets, timers, and the end of both.
//!
//! [`Server`] is what connections share. `listener` accepts, on a node of a cluster for whichever
//! server leads,
//! `arrival` sees clients through what comes before AMQP (`proxy`, [`crate::tls`]),
//! `connection` is the loop of one client, `timer` drives what the broker does by the clock,
//! `pressure` notices a store that is full or has failed, and that memory or disk get short.
//! Everything that knows AMQP is in `session`; everything that is kept is in `broker`. No lock is
//! held across an await.

mod arrival;
mod connection;
mod handshake_limiter;
mod listener;
mod log;
mod pressure;
mod proxy;
mod socket;
mod timer;

pub use arrival::ListenerOptions;
pub use listener::{accept, accept_for, listen};
pub use log::{LogLines, LogSink, LogTarget, log_exchange};
pub use timer::run as run_timer;

use self::handshake_limiter::{HandshakeLimiter, HandshakePermit};
use crate::broker::Broker;
use crate::client::identity::Peer;
use crate::clock::Now;
use crate::config::Limits;
use crate::machine;
use crate::protocol::amqp::session::Session;
use crate::queue::mailbox::Mailbox;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

/// Open files that are not clients' of AMQP: HTTP has up to 64, operators 16; the rest is for the
/// store, listeners and the runtime.
const DESCRIPTORS_KEPT: u32 = 128;

/// Why every connection is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownReason {
    /// The operator stops the broker: 320.
    Stop,
    /// The store has failed: `connection.blocked`, then 541.
    StoreFailed,
}

/// How many sockets clients may have: those of connections and handshakes, as far as there are
/// descriptors for them. Logs if these are too few.
fn sockets_max(limits: &Limits) -> u32 {
    let wanted = limits.connections_max.saturating_add(limits.handshakes_max);
    let sockets_max = machine::descriptors_max()
        .and_then(|most| u32::try_from(most).ok())
        .map_or(wanted, |most| wanted.min(most.saturating_sub(DESCRIPTORS_KEPT).max(2)));
    if sockets_max < limits.connections_max {
        warn!(
            "the open-files limit allows {sockets_max} connections, below limits.connections_max = {}",
            limits.connections_max
        );
    }
    sockets_max
}

/// Which node of a cluster leads, for those who take its clients.
#[derive(Clone)]
pub enum Leader {
    /// This one, whose clients this takes.
    Here(Arc<Server>),
    /// Another one, to which clients are forwarded.
    Elsewhere(Arc<dyn Forward>),
    /// None, or it is not known.
    Unknown,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub client: SocketAddr,
    /// Where it has connected to.
    pub local: Option<SocketAddr>,
}

/// The way to the node that leads.
pub trait Forward: Send + Sync {
    /// A connection to its server of AMQP, or of AMQP over TLS, for a client between these ends.
    fn open(
        &self,
        ends: Ends,
        by_tls: bool,
    ) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + '_>>;
}

/// As that changes.
pub type Leading = watch::Receiver<Leader>;

/// What all connections share.
pub struct Server {
    broker: Arc<Broker>,
    /// How many permits there are, taken or not.
    sockets_max: Mutex<u32>,
    /// Those who have not shaken hands.
    handshakes: Arc<HandshakeLimiter>,
    /// One for each connection that may still come: the limit, and (all of them back) the sign that
    /// none is left.
    permits: Arc<Semaphore>,
    /// The mailbox of every connection, under a number of its own: for waking them.
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
    next: AtomicU64,
    /// Set once, before every connection is woken to read it.
    reason: OnceLock<ShutdownReason>,
    /// One for each connection that may be busy for long at the same time.
    long_turns: Arc<Semaphore>,
    /// Without permits, and closed once there is a reason: what is not a connection yet waits for
    /// that.
    ending: Semaphore,
}

impl Server {
    /// A server without connections. Who shakes hands when there are as many as there may be is
    /// told so; therefore it takes more sockets than connections.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Arc<Self> {
        let limits = broker.limits().get();
        let sockets_max = sockets_max(&limits);
        let handshakes = HandshakeLimiter::new(&limits, sockets_max);
        Arc::new(Self {
            broker,
            sockets_max: Mutex::new(sockets_max),
            handshakes,
            // A usize has 32 bits or more wherever tokio runs, and limits allow no more sockets
            // than a semaphore counts.
            permits: Arc::new(Semaphore::new(sockets_max as usize)),
            mailboxes: Mutex::default(),
            next: AtomicU64::new(0),
            reason: OnceLock::new(),
            long_turns: Arc::new(Semaphore::new(machine::processors().saturating_sub(1).max(1))),
            ending: Semaphore::new(0),
        })
    }

    /// Takes over the limits of the broker after a change. Connections that are there stay.
    pub fn reload_limits(&self) {
        let limits = self.broker.limits().get();
        let wanted = sockets_max(&limits);
        self.handshakes.set_limits(&limits, wanted);
        let mut sockets_max = self.sockets_max.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *sockets_max {
            self.permits.add_permits((wanted - *sockets_max) as usize);
            *sockets_max = wanted;
        } else {
            // Those that are taken cannot be withdrawn; the other limits hold for their sockets.
            let withdrawn = self.permits.forget_permits((*sockets_max - wanted) as usize);
            *sockets_max -= u32::try_from(withdrawn).unwrap_or(u32::MAX);
        }
    }

    /// Tells every connection to end, for the reason that was given first. Connections that are
    /// still accepted end at once.
    pub fn end(&self, reason: ShutdownReason) {
        let _first_counts = self.reason.set(reason);
        self.ending.close();
        self.wake_all();
    }

    /// Waits up to `wait` until connections that were told to end have ended; whether they all
    /// have.
    pub async fn ended(&self, wait: Duration) -> bool {
        let sockets_max = *self.sockets_max.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(timeout(wait, self.permits.acquire_many(sockets_max)).await, Ok(Ok(_all)))
    }

    /// Has every session look at the broker again.
    fn wake_all(&self) {
        for mailbox in self.mailboxes().values() {
            mailbox.wake();
        }
    }

    /// Serves the client behind `socket` on a task of its own, once there is room for one more.
    pub async fn admit(self: &Arc<Self>, socket: TcpStream, ends: Ends, options: &ListenerOptions) {
        let address = ends.client;
        if self.permits.available_permits() == 0 {
            warn!("no more connections are possible: new clients wait to be accepted");
        }
        // Nobody closes it.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
        let handshake = self.handshakes.admit(options.told_address(address)).await;
        let guard = ConnectionGuard {
            server: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            handshake: Some(handshake),
            _permit: permit,
        };
        self.broker.metrics().connections_opened.add(1);
        if let Err(error) = socket.set_nodelay(true) {
            debug!(peer = %address, %error, "connection lost before it began");
        } else if options.is_open(address) {
            let peer = Peer { local: ends.local, ..Peer::at(address) };
            tokio::spawn(connection::serve(socket, peer, guard, self.broker.clock().now()));
        } else {
            tokio::spawn(arrival::receive(socket, ends, guard, options.clone()));
        }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the others; given up when dropped, however the connection ends.
struct ConnectionGuard {
    server: Arc<Server>,
    number: u64,
    /// Its place among those who have not shaken hands.
    handshake: Option<HandshakePermit>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionGuard {
    fn broker(&self) -> &Arc<Broker> {
        &self.server.broker
    }

    /// From now on the connection is woken with all others.
    fn take(&self, mailbox: &Arc<Mailbox>) {
        self.server.mailboxes().insert(self.number, Arc::clone(mailbox));
    }

    /// Gives the permit back once the session has shaken hands; whether others wait for its place,
    /// and it has not gone on.
    fn gives_way(&mut self, session: &mut Session, now: Now, context: &mut Context<'_>) -> bool {
        let Some(handshake) = &mut self.handshake else { return false };
        if session.has_entered() {
            self.handshake = None;
            return false;
        }
        handshake.look_at(session.output().progress(), now.mono_ms);
        handshake.poll_gives_way(context).is_ready()
    }

    /// It gave way to others.
    fn note_refusal(&self, peer: SocketAddr) {
        self.broker().metrics().connections_refused.add(1);
        warn!(%peer, "closed: the handshake made no progress and others were waiting \
            (limits.handshakes_max, limits.handshakes_per_address_max)");
    }

    /// Waits until it may be busy for long, which is as long as it keeps what is returned.
    fn long_turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        let turns = Arc::clone(&self.server.long_turns);
        // Nobody closes it.
        async move { turns.acquire_owned().await.ok() }
    }

    fn shutdown_reason(&self) -> Option<ShutdownReason> {
        self.server.reason.get().copied()
    }

    /// Waits until every connection is told to end.
    async fn ending(&self) {
        // Nobody adds a permit: this comes back when the semaphore is closed.
        let _closed = self.server.ending.acquire().await;
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.server.mailboxes().remove(&self.number);
        self.broker().metrics().connections_closed.add(1);
    }
}

//! The tokio shell around sessions: sockets, timers, and the end of both.
//!
//! [`Server`] is what connections share. `listener` accepts, `arrival` sees clients through what comes before AMQP (`proxy`, `tls`, `certificate`),
//! `connection` is the loop of one client, `control` serves operators, `timer` drives what the broker does by the clock, `pressure` notices a store that is full or
//! has failed, and what `machine` says of memory and disk. Everything that knows
//! AMQP is in `session`; everything that is kept is in `broker`. No lock is held across an await.

mod arrival;
mod certificate;
mod connection;
mod control;
mod listener;
mod machine;
mod newcomers;
mod pressure;
mod proxy;
mod timer;
mod tls;

pub use arrival::Door;
pub use control::{Control, serve as serve_control};
pub use listener::accept;
pub use machine::memory_bytes;
pub use timer::run as run_timer;
pub use tls::{BadFile, Certificates};

use self::newcomers::{Newcomer, Newcomers};
use crate::broker::Broker;
use crate::broker::mailbox::Mailbox;
use crate::clock;
use crate::session::{Peer, Session};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, error};

/// Why every connection is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The operator stops the broker: 320.
    Stop,
    /// The store has failed: `connection.blocked`, then 541.
    StoreFailed,
}

/// What all connections share.
pub struct Server {
    broker: Arc<Broker>,
    sockets_max: u32,
    /// Those who have not shaken hands.
    newcomers: Arc<Newcomers>,
    /// One for each connection that may still come: the limit, and (all of them back) the sign that none is left.
    permits: Arc<Semaphore>,
    /// The mailbox of every connection, under a number of its own: for waking them.
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
    next: AtomicU64,
    /// Set once, before every connection is woken to read it.
    farewell: OnceLock<Farewell>,
    /// Without permits, and closed once there is a farewell: what is not a connection yet waits for that.
    ending: Semaphore,
}

impl Server {
    /// A server without connections. Who shakes hands when there are as many as there may be is told so; therefore it takes more
    /// sockets than connections.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Arc<Self> {
        let limits = &broker.settings().limits;
        let sockets_max = limits.connections_max.saturating_add(limits.handshakes_max);
        let newcomers = Newcomers::new(limits);
        // A usize has 32 bits or more wherever tokio runs; a semaphore counts up to an eighth of that.
        let permits = usize::try_from(sockets_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            broker,
            sockets_max,
            newcomers,
            permits: Arc::new(Semaphore::new(permits)),
            mailboxes: Mutex::default(),
            next: AtomicU64::new(0),
            farewell: OnceLock::new(),
            ending: Semaphore::new(0),
        })
    }

    /// Tells every connection to end, and waits up to `wait` until they have; whether they all did. Connections that
    /// are still accepted end at once.
    pub async fn close(&self, farewell: Farewell, wait: Duration) -> bool {
        if self.farewell.set(farewell).is_err() {
            error!("connections were already told to end");
        }
        self.ending.close();
        self.wake_all();
        matches!(timeout(wait, self.permits.acquire_many(self.sockets_max)).await, Ok(Ok(_all)))
    }

    /// Has every session look at the broker again.
    fn wake_all(&self) {
        for mailbox in self.mailboxes().values() {
            mailbox.wake();
        }
    }

    /// Serves the client behind `socket` on a task of its own; false when there are too many already.
    fn admit(self: &Arc<Self>, socket: TcpStream, address: SocketAddr, door: &Door) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return false;
        };
        let Some(newcomer) = self.newcomers.admit(address.ip()) else {
            return false;
        };
        let seat = Seat {
            server: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            newcomer: Some(newcomer),
            _permit: permit,
        };
        self.broker.metrics().connections_opened.add(1);
        if let Err(error) = socket.set_nodelay(true) {
            debug!(peer = %address, %error, "connection lost before it began");
        } else if door.is_open(address) {
            let peer = Peer { local: socket.local_addr().ok(), ..Peer::at(address) };
            tokio::spawn(connection::serve(socket, peer, seat, clock::now()));
        } else {
            tokio::spawn(arrival::receive(socket, address, seat, door.clone()));
        }
        true
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the others; given up when dropped, however the connection ends.
struct Seat {
    server: Arc<Server>,
    number: u64,
    /// Its place among those who have not shaken hands.
    newcomer: Option<Newcomer>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    fn broker(&self) -> &Arc<Broker> {
        &self.server.broker
    }

    /// From now on the connection is woken with all others.
    fn take(&self, mailbox: &Arc<Mailbox>) {
        self.server.mailboxes().insert(self.number, Arc::clone(mailbox));
    }

    /// Leaves the newcomers once the session has shaken hands.
    fn look_at(&mut self, session: &Session) {
        if self.newcomer.is_some() && session.has_entered() {
            self.newcomer = None;
        }
    }

    fn farewell(&self) -> Option<Farewell> {
        self.server.farewell.get().copied()
    }

    /// Waits until every connection is told to end.
    async fn ending(&self) {
        // Nobody adds a permit: this comes back when the semaphore is closed.
        let _closed = self.server.ending.acquire().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.server.mailboxes().remove(&self.number);
        self.broker().metrics().connections_closed.add(1);
    }
}

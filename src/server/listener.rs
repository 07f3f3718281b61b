//! Accepts AMQP connections for as long as the process lives, whatever the system says meanwhile.

use super::{Ends, Leader, Leading, ListenerOptions, Server, connection};
use crate::protocol::amqp::wire::output::Output;
use std::future::{pending, poll_fn};
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

/// How long to wait when the system is out of descriptors or memory: at first, and at most.
/// Connections wait in the listener's queue meanwhile.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Clients that wait in a listener's queue until they are accepted; more are not answered and try
/// again a second later. Linux takes no more unless it is told to (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Clients of a listener that wait at a time until it is known which node leads, or are forwarded
/// to it; others wait in the listener's queue.
const HELD_MAX: usize = 4096;

/// How long a client waits for a node that leads, and when it is tried again to forward it.
const HELD_WAIT: Duration = Duration::from_secs(5);
const FORWARD_AGAIN: Duration = Duration::from_millis(100);

/// Listens on an address.
///
/// # Errors
/// It is taken, or is none of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port is free again at once, although connections of a broker before this one are still
    // known to the system.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Clients of a listener that wait for a server, or are forwarded to that of another node; their
/// connections end with it.
struct Held {
    places: Arc<Semaphore>,
    leading: Leading,
    clients: JoinSet<()>,
}

/// A listener, which is closed while listeners are suspended.
struct Socket {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

/// Accepts on `listener`, with these options, until the future is dropped. While listeners are
/// suspended nothing listens there.
pub async fn accept(server: Arc<Server>, listener: TcpListener, options: ListenerOptions) {
    let Some(mut socket) = Socket::of(listener) else { return pending().await };
    socket.accept(&server, &options).await;
}

/// Accepts on `listener` for the server that leads, whichever it is, until the future is dropped.
/// While nobody leads, clients wait; while another node does, they are forwarded to it.
pub async fn accept_for(mut leading: Leading, listener: TcpListener, options: ListenerOptions) {
    let Some(mut socket) = Socket::of(listener) else { return pending().await };
    let mut held = Held {
        places: Arc::new(Semaphore::new(HELD_MAX)),
        leading: leading.clone(),
        clients: JoinSet::new(),
    };
    loop {
        let leader = leading.borrow_and_update().clone();
        tokio::select! {
            changed = leading.changed() => if changed.is_err() { return },
            () = async {
                match &leader {
                    Leader::Here(server) => socket.accept(server, &options).await,
                    Leader::Unknown | Leader::Elsewhere(_) => {
                        socket.hold(&mut held, &options).await;
                    }
                }
            } => {}
        }
    }
}

impl Socket {
    fn of(listener: TcpListener) -> Option<Self> {
        match listener.local_addr() {
            Ok(address) => Some(Self { address, listener: Some(listener) }),
            Err(error) => {
                error!(%error, "cannot accept connections");
                None
            }
        }
    }

    /// The listener, opened again where it was closed.
    async fn open(&mut self) -> &TcpListener {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => listen_again(self.address).await,
        };
        self.listener.insert(listener)
    }

    /// Accepts for one server, until the future is dropped.
    async fn accept(&mut self, server: &Arc<Server>, options: &ListenerOptions) {
        let mut wait = BACK_OFF.0;
        loop {
            let listener = self.open().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = suspended(server, true) => {
                    self.listener = None;
                    info!(address = %self.address, "listener suspended");
                    suspended(server, false).await;
                    continue;
                }
            };
            if let Some((socket, ends)) = looked_at(accepted, &mut wait).await {
                // Others wait in the listener's queue until there is room for this one.
                server.admit(socket, ends, options).await;
            }
        }
    }

    /// Has clients wait for a server.
    async fn hold(&mut self, held: &mut Held, options: &ListenerOptions) {
        let mut wait = BACK_OFF.0;
        let listener = self.open().await;
        loop {
            // Nobody closes it. Without a permit clients wait in the listener's queue.
            let Ok(permit) = Arc::clone(&held.places).acquire_owned().await else { return };
            let accepted = listener.accept().await;
            // Those that have ended are forgotten.
            while held.clients.try_join_next().is_some() {}
            if let Some((socket, ends)) = looked_at(accepted, &mut wait).await {
                let (leading, options) = (held.leading.clone(), options.clone());
                held.clients.spawn(async move {
                    hold(leading, (socket, ends), options).await;
                    drop(permit);
                });
            }
        }
    }
}

/// Waits until a node leads, and has its server take the client: this node's, or by way of it
/// another one's. After some seconds without one the client is let go.
async fn hold(mut leading: Leading, (mut socket, ends): (TcpStream, Ends), options: ListenerOptions) {
    let peer = ends.client;
    let found = timeout(HELD_WAIT, async {
        loop {
            let leader = leading.wait_for(|leader| !matches!(leader, Leader::Unknown)).await;
            let leader = leader.map(|leader| leader.clone()).ok()?;
            let Leader::Elsewhere(forward) = &leader else { return Some((leader, None)) };
            match forward.open(ends, options.tls.is_some()).await {
                Ok(other) => return Some((leader, Some(other))),
                Err(error) => debug!(%peer, %error, "cannot forward a client to the node that leads"),
            }
            // It may lead no more, or not yet.
            let _other = timeout(FORWARD_AGAIN, leading.changed()).await;
        }
    });
    match found.await.ok().flatten() {
        Some((_, Some(mut other))) => {
            let _lost = socket.set_nodelay(true);
            // However it ends, that is for the two sides to make of it.
            let _ended = copy_bidirectional(&mut socket, &mut other).await;
        }
        Some((Leader::Here(server), None)) => server.admit(socket, ends, &options).await,
        Some((Leader::Elsewhere(_) | Leader::Unknown, None)) | None => {
            debug!(%peer, "closed: no node leads the cluster");
            connection::finish(socket, Output::default()).await;
        }
    }
}

/// A connection that was accepted, or else a wait where there is reason for one.
async fn looked_at(
    accepted: io::Result<(TcpStream, SocketAddr)>,
    wait: &mut Duration,
) -> Option<(TcpStream, Ends)> {
    match accepted {
        Ok((socket, address)) => {
            *wait = BACK_OFF.0;
            // An IPv4 client of an IPv6 socket shows its own address: guest may log in from the
            // loopback only.
            let client = SocketAddr::new(address.ip().to_canonical(), address.port());
            let local = socket.local_addr().ok();
            return Some((socket, Ends { client, local }));
        }
        Err(error) if is_the_peers(&error) => debug!(%error, "a connection ended before it was accepted"),
        Err(error) => {
            warn!(%error, "cannot accept connections; trying again in {} ms", wait.as_millis());
            sleep(*wait).await;
            *wait = (*wait * 2).min(BACK_OFF.1);
        }
    }
    None
}

/// Waits until listeners are suspended, or are not.
async fn suspended(server: &Server, is_suspended: bool) {
    poll_fn(|context| server.broker.listening().poll(is_suspended, context)).await;
}

/// Listens where a listener was closed.
async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match listen(address) {
            Ok(listener) => {
                info!(%address, "listener resumed");
                return listener;
            }
            Err(error) => {
                warn!(%error, %address, "cannot listen again; trying again");
                sleep(BACK_OFF.1).await;
            }
        }
    }
}

/// Whether the error is that of one connection, so that the next may be tried at once.
fn is_the_peers(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

//! What comes before AMQP: a header of the PROXY protocol, and the TLS handshake.
//!
//! It happens on a task of its own, which ends when it is done, so that a connection keeps no
//! memory of it; a plain connection has nothing to do here and never comes. It and AMQP's handshake
//! have ten seconds together.

use super::proxy;
use super::{ConnectionGuard, Ends, connection};
use crate::client::identity::Peer;
use crate::clock::{self, Now};
use crate::config::network::Network;
use crate::protocol::amqp::wire::output::Output;
use crate::tls::{Certificates, Other, explained, is_foreign};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

/// How long a client whose time is up has for what lies in its socket already.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// What a listener asks of those who come.
#[derive(Clone)]
pub struct ListenerOptions {
    /// TLS is spoken, with these.
    pub tls: Option<Arc<Certificates>>,
    /// Those who come from here are proxies, and tell who the client is.
    pub proxies: Arc<[Network]>,
}

impl ListenerOptions {
    /// Whether a client that comes from there may speak AMQP at once.
    pub(super) fn is_open(&self, address: SocketAddr) -> bool {
        self.tls.is_none() && !self.expects_proxy(address)
    }

    /// Where a client that comes from there is known to be.
    pub(super) fn told_address(&self, address: SocketAddr) -> Option<IpAddr> {
        (!self.expects_proxy(address)).then_some(address.ip())
    }

    fn expects_proxy(&self, address: SocketAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address.ip()))
    }
}

/// Reads what comes before AMQP (a PROXY header, the TLS handshake), then serves the client.
pub(super) async fn receive(
    mut socket: TcpStream,
    Ends { client: address, local }: Ends,
    mut guard: ConnectionGuard,
    options: ListenerOptions,
) {
    let began = guard.broker().clock().now();
    let wait = Duration::from_secs(guard.broker().limits().get().handshake_timeout_s.into());
    let until = Instant::now() + wait;
    let mut peer = Peer { local, ..Peer::at(address) };
    if options.expects_proxy(address) {
        match in_time(&mut guard, peer.address, until, proxy::read(&mut socket)).await {
            Some(Ok(Some(told))) => peer.address = SocketAddr::new(told.ip().to_canonical(), told.port()),
            Some(Ok(None)) => {}
            Some(Err(error)) => return turn_away(&peer, Turned { why: "", error, socket }).await,
            None => return,
        }
        if let Some(handshake) = &mut guard.handshake {
            handshake.comes_from(peer.address.ip(), clock::mono_ms());
        }
    }
    let Some(certificates) = &options.tls else {
        tokio::spawn(connection::serve(socket, peer, guard, began));
        return;
    };
    match in_time(&mut guard, peer.address, until, shake_hands(socket, certificates, began)).await {
        Some(Ok(stream)) => {
            peer.tls = true;
            peer.certificate_name = certificates.client_name(stream.get_ref().1);
            tokio::spawn(connection::serve(stream, peer, guard, began));
        }
        Some(Err(turned)) => turn_away(&peer, turned).await,
        None => {}
    }
}

/// What `step` comes to, which says nothing when the broker stops, when its time is up, or when the
/// client has to give way to others.
async fn in_time<T>(
    guard: &mut ConnectionGuard,
    peer: SocketAddr,
    until: Instant,
    step: impl Future<Output = T>,
) -> Option<T> {
    let mut handshake = guard.handshake.take();
    let gives_way = poll_fn(|context| match &mut handshake {
        Some(handshake) => handshake.poll_gives_way(context),
        None => Poll::Pending,
    });
    let mut step = pin!(step);
    let is_late = tokio::select! {
        biased;
        outcome = &mut step => {
            guard.handshake = handshake;
            return Some(outcome);
        }
        () = guard.ending() => return None,
        () = gives_way => false,
        () = sleep_until(until) => true,
    };
    // Its bytes may lie in the socket: after the process stood still, clocks ring before sockets
    // are looked at.
    if let Ok(outcome) = timeout(LAST_WAIT, step).await {
        guard.handshake = handshake;
        return Some(outcome);
    }
    if is_late {
        warn!(%peer, "closed: the handshake took too long");
    } else {
        guard.note_refusal(peer);
    }
    None
}

/// A client that did not get through.
struct Turned {
    /// What the error is about.
    why: &'static str,
    error: io::Error,
    socket: TcpStream,
}

async fn shake_hands(
    socket: TcpStream,
    certificates: &Certificates,
    now: Now,
) -> Result<Box<TlsStream<TcpStream>>, Turned> {
    let handshake = certificates.acceptor(now.mono_ms).accept(socket).into_fallible();
    let stream = handshake.await.map_err(|(error, socket)| Turned {
        why: "the TLS handshake failed: ",
        error,
        socket,
    })?;
    Ok(Box::new(stream))
}

async fn turn_away(peer: &Peer, Turned { why, error, socket }: Turned) {
    if error.kind() == ErrorKind::UnexpectedEof {
        debug!(peer = %peer.address, "connection lost before it began");
        return;
    }
    if is_foreign(&error) {
        warn!(peer = %peer.address, "refused: does not speak TLS");
    } else {
        warn!(peer = %peer.address, "refused: {why}{}", explained(&error, Other::Client));
    }
    connection::finish(socket, Output::default()).await;
}

//! What comes before AMQP: a header of the PROXY protocol, and the TLS handshake.
//!
//! It happens on a task of its own, which ends when it is done, so that a connection keeps no memory of it; a plain connection has
//! nothing to do here and never comes. It and AMQP's handshake have ten seconds together.

use super::proxy;
use super::tls::{Certificates, is_foreign};
use super::{Seat, connection};
use crate::clock::{self, Now};
use crate::config::network::Network;
use crate::session::Peer;
use crate::wire::output::Output;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

/// What a listener asks of those who come.
#[derive(Clone)]
pub struct Door {
    /// TLS is spoken, with these.
    pub tls: Option<Arc<Certificates>>,
    /// Those who come from here are proxies, and tell who the client is.
    pub proxies: Arc<[Network]>,
}

impl Door {
    /// Whether a client that comes from there may speak AMQP at once.
    pub(super) fn is_open(&self, address: SocketAddr) -> bool {
        self.tls.is_none() && !self.expects_proxy(address)
    }

    fn expects_proxy(&self, address: SocketAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address.ip()))
    }
}

/// Sees the client through the door, and serves it when that went well.
pub(super) async fn receive(socket: TcpStream, address: SocketAddr, seat: Seat, door: Door) {
    let began = clock::now();
    let wait = Duration::from_secs(seat.broker().settings().limits.handshake_timeout_s.into());
    // Who it is may be told before the end.
    let mut peer = Peer { local: socket.local_addr().ok(), ..Peer::at(address) };
    let outcome = tokio::select! {
        outcome = timeout(wait, pass(socket, &mut peer, &door, began)) => outcome,
        () = seat.ending() => return,
    };
    match outcome {
        Ok(Ok(Passed::Plain(stream))) => {
            tokio::spawn(connection::serve(stream, peer, seat, began));
        }
        Ok(Ok(Passed::Tls(stream))) => {
            tokio::spawn(connection::serve(stream, peer, seat, began));
        }
        Ok(Err(Turned { error, .. })) if error.kind() == ErrorKind::UnexpectedEof => {
            debug!(peer = %peer.address, "connection lost before it began");
        }
        Ok(Err(Turned { why, error, socket })) => {
            if is_foreign(&error) {
                warn!(peer = %peer.address, "refused: does not speak TLS");
            } else {
                warn!(peer = %peer.address, "refused: {why}{error}");
            }
            connection::finish(socket, Output::default()).await;
        }
        Err(_late) => warn!(peer = %peer.address, "closed: the handshake took too long"),
    }
}

/// A client that is through.
enum Passed {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client that did not get through.
struct Turned {
    /// What the error is about.
    why: &'static str,
    error: io::Error,
    socket: TcpStream,
}

async fn pass(mut socket: TcpStream, peer: &mut Peer, door: &Door, now: Now) -> Result<Passed, Turned> {
    if door.expects_proxy(peer.address) {
        match proxy::read(&mut socket).await {
            Ok(Some(told)) => peer.address = SocketAddr::new(told.ip().to_canonical(), told.port()),
            Ok(None) => {}
            Err(error) => return Err(Turned { why: "", error, socket }),
        }
    }
    let Some(certificates) = &door.tls else { return Ok(Passed::Plain(socket)) };
    let handshake = certificates.acceptor(now).accept(socket).into_fallible();
    let stream = handshake.await.map_err(|(error, socket)| Turned {
        why: "the TLS handshake failed: ",
        error,
        socket,
    })?;
    peer.tls = true;
    peer.certificate_name = certificates.client_name(stream.get_ref().1);
    Ok(Passed::Tls(Box::new(stream)))
}

//! What comes before AMQP: the TLS handshake.
//!
//! It happens on a task of its own, which ends when it is done, so that a connection keeps no memory of it; a plain connection has
//! nothing to do here and never comes. It and AMQP's handshake have ten seconds together.

use super::tls::{Certificates, is_foreign};
use super::{Seat, connection};
use crate::clock::{self, Now};
use crate::session::{HANDSHAKE_MS, Peer};
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
#[derive(Clone, Default)]
pub struct Door {
    /// TLS is spoken, with these.
    pub tls: Option<Arc<Certificates>>,
}

impl Door {
    /// Whether a client that comes from there may speak AMQP at once.
    pub(super) fn is_open(&self) -> bool {
        self.tls.is_none()
    }
}

/// Sees the client through the door, and serves it when that went well.
pub(super) async fn receive(socket: TcpStream, address: SocketAddr, seat: Seat, door: Door) {
    let began = clock::now();
    let wait = Duration::from_millis(HANDSHAKE_MS);
    let outcome = tokio::select! {
        outcome = timeout(wait, pass(socket, &door, began)) => outcome,
        () = seat.ending() => return,
    };
    match outcome {
        Ok(Ok(Passed::Plain(stream))) => {
            tokio::spawn(connection::serve(stream, Peer::at(address), seat, began));
        }
        Ok(Ok(Passed::Tls { stream, certificate_name })) => {
            let peer = Peer { address, certificate_name };
            tokio::spawn(connection::serve(stream, peer, seat, began));
        }
        Ok(Err(Turned { error, .. })) if error.kind() == ErrorKind::UnexpectedEof => {
            debug!(peer = %address, "connection lost before the TLS handshake was done");
        }
        Ok(Err(Turned { error, socket })) => {
            if is_foreign(&error) {
                warn!(peer = %address, "refused: does not speak TLS");
            } else {
                warn!(peer = %address, "refused: the TLS handshake failed: {error}");
            }
            connection::finish(socket, Output::default()).await;
        }
        Err(_late) => warn!(peer = %address, "closed: the handshake took too long"),
    }
}

/// A client that is through.
enum Passed {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        /// See [`Peer::certificate_name`].
        certificate_name: Option<String>,
    },
}

/// A client that did not get through.
struct Turned {
    error: io::Error,
    socket: TcpStream,
}

async fn pass(socket: TcpStream, door: &Door, now: Now) -> Result<Passed, Turned> {
    let Some(certificates) = &door.tls else { return Ok(Passed::Plain(socket)) };
    let handshake = certificates.acceptor(now).accept(socket).into_fallible();
    let stream = handshake.await.map_err(|(error, socket)| Turned { error, socket })?;
    let certificate_name = certificates.client_name(stream.get_ref().1);
    Ok(Passed::Tls { stream: Box::new(stream), certificate_name })
}

//! Accepts AMQP connections for as long as the process lives, whatever the system says meanwhile.

use super::{ListenerOptions, Server};
use std::future::poll_fn;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// How long to wait when the system is out of descriptors or memory: at first, and at most.
/// Connections wait in the listener's queue meanwhile.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Clients that wait in a listener's queue until they are accepted; more are not answered and try
/// again a second later. Linux takes no more unless it is told to (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

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

/// Accepts on `listener`, with these options, until the future is dropped. While listeners are
/// suspended nothing listens there.
pub async fn accept(server: Arc<Server>, mut listener: TcpListener, options: ListenerOptions) {
    let mut wait = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = suspended(&server, true) => {
                listener = listen_again(&server, listener).await;
                continue;
            }
        };
        match accepted {
            Ok((socket, address)) => {
                wait = BACK_OFF.0;
                // An IPv4 client of an IPv6 socket shows its own address: guest may log in from the
                // loopback only.
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                // Others wait in the listener's queue until there is room for this one.
                server.admit(socket, address, &options).await;
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again in {} ms", wait.as_millis());
                sleep(wait).await;
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Waits until listeners are suspended, or are not.
async fn suspended(server: &Server, is_suspended: bool) {
    poll_fn(|context| server.broker.listening().poll(is_suspended, context)).await;
}

/// Closes a listener until listeners are no longer suspended; the one that takes its place.
async fn listen_again(server: &Server, listener: TcpListener) -> TcpListener {
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => {
            warn!(%error, "cannot suspend a listener");
            suspended(server, false).await;
            return listener;
        }
    };
    drop(listener);
    info!(%address, "listener suspended");
    suspended(server, false).await;
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

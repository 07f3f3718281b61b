//! Accepts AMQP connections for as long as the process lives, whatever the system says meanwhile.

use super::{ListenerOptions, Server};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{debug, warn};

/// How long to wait when the system is out of descriptors or memory: at first, and at most.
/// Connections wait in the listener's queue meanwhile.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Accepts on `listener`, with these options, until the future is dropped.
pub async fn accept(server: Arc<Server>, listener: TcpListener, options: ListenerOptions) {
    let mut wait = BACK_OFF.0;
    loop {
        match listener.accept().await {
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

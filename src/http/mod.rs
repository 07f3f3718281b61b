//! The HTTP port: health and metrics.
//!
//! A small server for operators' tools, apart from the AMQP one: its connections, heads and waits have limits of
//! their own, so that whatever happens here costs the broker little.

mod process;
mod prometheus;
mod router;

use crate::broker::Broker;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;

/// The longest request head, in bytes. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long a client may take to send its next request's head.
const HEAD_WAIT: Duration = Duration::from_secs(30);

/// How long a connection may last, so that clients that do not read their answers go away too.
const CONNECTION_WAIT: Duration = Duration::from_secs(300);

/// How long to wait when the system cannot accept.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Serves on `listener` until the future is dropped.
pub async fn serve(listener: TcpListener, broker: Arc<Broker>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _address)) => socket,
            Err(error) => {
                warn!(%error, "cannot accept HTTP connections; trying again");
                sleep(BACK_OFF).await;
                continue;
            }
        };
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| ready(Ok::<_, Infallible>(router::answer(&request, &broker))));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT)
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(socket), service);
            match timeout(CONNECTION_WAIT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "HTTP connection ended"),
                Err(_late) => debug!("HTTP connection ended: it lasted too long"),
            }
        });
    }
}

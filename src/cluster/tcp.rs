//! The way between nodes: connections of TCP, each with one request at a time and its answer. A
//! message is a u32 length, big-endian, and that many bytes.
//!
//! A connection begins with a [`handshake`](super::handshake); until that is done nobody takes more
//! than a few hundred bytes, a few seconds and one of few places. What takes longer than its caller
//! waits ends with the connection.

use super::handshake::{Client, HANDSHAKE_BYTES_MAX, Introduction, Refusal, Server, SharedSecret};
use super::types::NodeId;
use super::{Call, Transport};
use crate::machine::random_bytes;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

/// A message between nodes has no more bytes: an entry with a message of 128 MiB, and as much
/// again.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// So many connections are in a handshake at a time; others wait to be accepted.
const HANDSHAKES_MAX: usize = 32;

/// So many connections to a node are kept for later.
const IDLE_MAX: usize = 4;

/// How long nothing is accepted after a failure to do so.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a node shows to others, and demands of them.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What all nodes of the cluster know.
    pub secret: SharedSecret,
    /// Who it is.
    pub me: Introduction,
}

/// Who answers on a node's port.
pub trait Respond: Send + Sync + 'static {
    /// Who it is at this moment.
    fn identity(&self) -> Identity;

    /// The answer to what somebody asks who knows the secret.
    ///
    /// # Errors
    /// That is no request, and the connection ends.
    fn respond<'a>(&'a self, from: &'a Introduction, request: Bytes) -> Call<'a>;

    /// Takes over the connection, if that is what a request was about, once it is answered.
    fn take(&self, from: &Introduction, request: &[u8], stream: TcpStream) -> Option<TcpStream> {
        let _of_no_interest = (from, request);
        Some(stream)
    }
}

/// The way to other nodes.
pub struct TcpTransport {
    identity: Identity,
    addresses: BTreeMap<NodeId, String>,
    idle: Mutex<BTreeMap<NodeId, Vec<TcpStream>>>,
}

impl TcpTransport {
    /// Reaches nodes at these addresses.
    #[must_use]
    pub fn new(identity: Identity, addresses: BTreeMap<NodeId, String>) -> Self {
        Self { identity, addresses, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<TcpStream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, to: NodeId, request: Bytes) -> io::Result<Bytes> {
        let kept = self.idle().get_mut(&to).and_then(Vec::pop);
        if let Some(stream) = kept
            && let Ok(answer) = self.ask_over(to, stream, &request).await
        {
            return Ok(answer);
        }
        // The node may have been restarted: whatever else is kept is of no use either.
        self.idle().remove(&to);
        let stream = self.connect(to).await?;
        self.ask_over(to, stream, &request).await
    }

    async fn ask_over(&self, to: NodeId, mut stream: TcpStream, request: &[u8]) -> io::Result<Bytes> {
        let answer = ask(&mut stream, request).await?;
        let mut idle = self.idle();
        let kept = idle.entry(to).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(stream);
        }
        Ok(answer)
    }

    /// A new connection to a node.
    pub(super) async fn connect(&self, to: NodeId) -> io::Result<TcpStream> {
        let address = self.addresses.get(&to).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let met = meet(address, &self.identity).await;
        let (stream, them) = met.inspect_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                warn!(address, "cannot join the node: {error}");
            }
        })?;
        if them.node == to {
            Ok(stream)
        } else {
            Err(io::Error::other(format!("at {address} is another node, '{}'", them.name)))
        }
    }
}

impl Transport for TcpTransport {
    fn call(&self, to: NodeId, request: Bytes) -> Call<'_> {
        Box::pin(self.ask(to, request))
    }
}

impl Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Connects to the node at `address`, and finds out who it is.
///
/// # Errors
/// It cannot be reached, or one of the two refuses (`PermissionDenied`).
pub async fn meet(address: &str, identity: &Identity) -> io::Result<(TcpStream, Introduction)> {
    let met = timeout(HANDSHAKE_TIMEOUT, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Identity { secret, me } = identity.clone();
        let (mut client, hello) = Client::begin(secret, me, random_bytes()?);
        write(&mut stream, &hello).await?;
        let answer = read(&mut stream, HANDSHAKE_BYTES_MAX).await?;
        let introduction = match client.introduce(&answer) {
            Ok(introduction) => introduction,
            Err(refusal) => return Ok(Err(refusal)),
        };
        write(&mut stream, &introduction).await?;
        let answer = read(&mut stream, HANDSHAKE_BYTES_MAX).await?;
        io::Result::Ok(client.finish(&answer).map(|them| (stream, them)))
    });
    met.await
        .map_err(|_elapsed| io::ErrorKind::TimedOut)??
        .map_err(|refusal| io::Error::new(io::ErrorKind::PermissionDenied, refusal.to_string()))
}

/// Asks a node over a connection of [`meet`], and waits for the answer.
///
/// # Errors
/// The connection is lost.
pub async fn ask(stream: &mut TcpStream, request: &[u8]) -> io::Result<Bytes> {
    write(stream, request).await?;
    read(stream, MESSAGE_BYTES_MAX).await
}

/// Has other nodes answered, until it is dropped.
pub async fn serve(listener: TcpListener, node: Arc<dyn Respond>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Those that have ended are forgotten.
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (mut stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection of another node");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let node = Arc::clone(&node);
        connections.spawn(async move {
            let identity = node.identity();
            match timeout(HANDSHAKE_TIMEOUT, welcome(&mut stream, identity.clone())).await {
                Ok(Ok(Ok(them))) if them.is_copy_of(&identity.me) => {
                    error!(%from, "refused on the cluster's port: it has a copy of this node's data");
                }
                Ok(Ok(Ok(them))) => {
                    debug!(name = them.name, %from, "a node has connected");
                    drop(place);
                    // Whatever ends it, the other node connects again.
                    let _ended = answer_all(stream, &them, &*node).await;
                }
                Ok(Ok(Err(refusal))) => warn!(%from, "refused on the cluster's port: {refusal}"),
                Ok(Err(error)) => warn!(%from, "refused on the cluster's port: {error}"),
                Err(_elapsed) => warn!(%from, "refused on the cluster's port: it says nothing"),
            }
        });
    }
}

async fn welcome(stream: &mut TcpStream, identity: Identity) -> io::Result<Result<Introduction, Refusal>> {
    stream.set_nodelay(true)?;
    let hello = read(stream, HANDSHAKE_BYTES_MAX).await?;
    let (server, answer) = match Server::begin(identity.secret, identity.me, &hello, random_bytes()?) {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    write(stream, &answer).await?;
    let server = match server {
        Ok(server) => server,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let introduction = read(stream, HANDSHAKE_BYTES_MAX).await?;
    let (answer, them) = server.finish(introduction);
    write(stream, &answer).await?;
    Ok(them)
}

async fn answer_all(mut stream: TcpStream, from: &Introduction, node: &dyn Respond) -> io::Result<()> {
    loop {
        let request = read(&mut stream, MESSAGE_BYTES_MAX).await?;
        let answer = node.respond(from, request.clone()).await?;
        write(&mut stream, &answer).await?;
        stream = match node.take(from, &request, stream) {
            Some(stream) => stream,
            None => return Ok(()),
        };
    }
}

async fn read(stream: &mut TcpStream, bytes_max: usize) -> io::Result<Bytes> {
    let len = stream.read_u32().await? as usize;
    if len > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no message of a Leveret node"));
    }
    let mut message = vec![0; len];
    stream.read_exact(&mut message).await?;
    Ok(message.into())
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u32::try_from(message.len()).ok().filter(|&len| len as usize <= MESSAGE_BYTES_MAX);
    let len = len.ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(message).await
}

//! Several nodes that hold the same data: a cluster. Alone names openraft.
//!
//! # What is there
//!
//! `store::replica` keeps a node's log and tables. A [`Member`] has openraft decide on the entries
//! of that log together with the other nodes: they elect a leader, and what is proposed there is on
//! the disks of a majority before it is applied anywhere. [`Member::lead`] starts a commit thread
//! on the tables of the node that leads, as `store::open` does for a broker alone. What nodes ask
//! each other is bytes (`rpc`), brought there by a [`Transport`]: one is [`tcp`], over connections
//! that [`handshake`] opens, another one the network of a simulation.
//!
//! A [`LocalNode`] is all of that in one process: it opens the data, becomes a cluster with its
//! peers once (`founding`), and answers on its port. `node` has the broker follow the lead.
//!
//! What a leader confirms is on the disks of a majority, and follows from what was committed
//! before: `store::replica` says how. Each proposal is for the term in which its broker began.
//!
//! # What is not there yet
//!
//! * One group is on its way at a time.
//! * The log is never purged, and there are no snapshots: a node must start empty, and one that has
//!   lost its disk cannot come back.
//! * An entry is one message, of no more than [`tcp::MESSAGE_BYTES_MAX`], and not cut into pieces.
//! * Connections are authenticated by a shared secret, and not encrypted.
//! * A full disk ends a node's part, until it is started again.

mod ask;
mod founding;
pub mod handshake;
mod local;
mod log_store;
mod member;
mod rpc;
mod state_machine;
pub mod tcp;
mod types;

pub use self::ask::Forwarded;
pub use self::local::{LocalNode, NodeFault, Settings, TakesClients};
pub use self::member::{Changes, Member, Parts, Progress, Status};
pub use self::types::{NodeId, Peer};
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::pin::Pin;

/// How long nodes wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader is heard of.
    pub heartbeat_ms: u64,
    /// A node that has heard of a leader gives its vote to nobody else for as long as the end of
    /// this, and for another time out of it does not ask for votes itself.
    pub election_ms: Range<u64>,
}

impl Default for Timing {
    /// A node asks for votes 1.05 to 1.3 s after it has last heard of a leader.
    fn default() -> Self {
        Self { heartbeat_ms: 150, election_ms: 400..650 }
    }
}

/// The answer to a request, once it comes.
pub type Call<'a> = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + 'a>>;

/// The way from a node to the others.
pub trait Transport: Send + Sync + 'static {
    /// Brings a request to a node, where [`Member::handle`] answers it. Who asks may stop waiting.
    ///
    /// # Errors
    /// The node cannot be reached, or has not answered.
    fn call(&self, to: NodeId, request: Bytes) -> Call<'_>;
}

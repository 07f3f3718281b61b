//! A node's part in the cluster: its log, its tables, and what openraft makes of them.

use super::log_store::LogStore;
use super::rpc::{Answer, Append, Appended, AskVote, Request, Transfer, Voted};
use super::state_machine::StateMachine;
use super::types::{Data, Leader, Members, NodeId, Peer, RaftId, RaftVote, TypeConfig, of_raft_id};
use super::{Timing, Transport};
use crate::store::replica::log::{EntryId, RaftLog};
use crate::store::replica::{NotApplied, Outcome, Propose, Replica};
use crate::store::{Opened, StoreError};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::OneshotResponder;
use openraft::network::RPCOption;
use openraft::raft::{ClientWriteResult, SnapshotResponse, TransferLeaderResponse};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{InstantOf, WatchReceiverOf};
use openraft::{
    AnyError, Config, OptionalSend, Raft, RaftMetrics, RaftNetworkFactory, RaftNetworkV2, Snapshot,
    SnapshotPolicy,
};
use openraft_rt::deterministic_rng::DeterministicRng;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

type RaftNode = Raft<TypeConfig, StateMachine>;

/// A node that takes part in a cluster, until it is shut down.
#[derive(Clone)]
pub struct Member {
    id: NodeId,
    raft: RaftNode,
    replica: Replica,
    /// For how long after a majority has answered nobody else can be elected.
    lease: Duration,
}

/// What a member is made of.
pub struct Parts {
    /// Which node it is.
    pub id: NodeId,
    /// Its log.
    pub log: RaftLog,
    /// Whether a thread of its own syncs the log, as it should be but for simulations.
    pub syncs_aside: bool,
    /// Its tables.
    pub replica: Replica,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// How long it waits for what.
    pub timing: Timing,
    /// What its random choices begin with: no two nodes may have the same.
    pub seed: u64,
}

/// How a member sees the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whether it leads itself, as far as it knows.
    pub is_leader: bool,
    /// Whether nobody else can lead: it leads, and has heard of a majority since any other node
    /// may have begun to miss it. Only then may it serve.
    pub is_sure: bool,
    /// For how long it is, unless it hears of a majority again.
    pub sure_for: Duration,
    /// The last entry that it has applied.
    pub applied: Option<EntryId>,
    /// How far the others are, if it leads.
    pub others: BTreeMap<NodeId, Progress>,
    /// All nodes that belong to the cluster.
    pub members: BTreeMap<NodeId, Peer>,
    /// Whether it goes on; none of the rest counts if it does not.
    pub works: bool,
    /// Why it does not.
    pub fault: Option<String>,
}

/// Tells when the status of a member may have changed.
pub struct Changes(WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>);

impl Changes {
    /// Waits until it may have changed since this last came back.
    ///
    /// # Errors
    /// The member takes no part any more.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.0.changed().await.map_err(io::Error::other)
    }
}

impl Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

/// How far another node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries of the log that it is not known to have.
    pub lag: u64,
    /// Whether it was heard of within the last election timeout or so.
    pub is_heard: bool,
}

impl Member {
    /// Starts to take part in a cluster, if there is one that it belongs to.
    ///
    /// # Errors
    /// What it keeps cannot be used.
    pub async fn start(parts: Parts) -> io::Result<Self> {
        let Parts { id, log, syncs_aside, replica, transport, timing, seed } = parts;
        let config = Config {
            cluster_name: "leveret".to_owned(),
            heartbeat_interval: timing.heartbeat_ms,
            election_timeout_min: timing.election_ms.start,
            election_timeout_max: timing.election_ms.end,
            enable_pre_vote: Some(true),
            max_payload_entries: ENTRIES_MAX,
            snapshot_policy: SnapshotPolicy::Never,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(io::Error::other)?);
        let log = LogStore::new(log, syncs_aside)?;
        let tables = StateMachine::new(replica.clone(), log.clone());
        let started = Raft::new(id, config, Network { transport }, log, tables);
        let raft = DeterministicRng::<openraft::TokioRuntime>::scope(seed, started).await;
        // Clocks do not go alike to the last millisecond.
        let lease = Duration::from_millis(timing.election_ms.end.saturating_sub(timing.heartbeat_ms));
        Ok(Self { id, raft: raft.map_err(io::Error::other)?, replica, lease })
    }

    /// Founds a cluster of these nodes, none of which belongs to one: to be asked of one of them.
    ///
    /// # Errors
    /// This one belongs to a cluster.
    pub async fn found(&self, members: BTreeMap<NodeId, Peer>) -> io::Result<()> {
        self.raft.initialize(members).await.map_err(io::Error::other)
    }

    /// Answers what another node asks.
    ///
    /// # Errors
    /// That is no request.
    pub async fn handle(&self, request: Bytes) -> io::Result<Bytes> {
        let answer = match Request::decode(request)? {
            Request::Append(append) => self
                .raft
                .append_entries(append)
                .await
                .map(Answer::Appended)
                .map_err(|error| error.to_string()),
            Request::Vote(ask) => {
                self.raft.vote(ask).await.map(Answer::Voted).map_err(|error| error.to_string())
            }
            Request::PreVote(ask) => {
                self.raft.pre_vote(ask).await.map(Answer::Voted).map_err(|error| error.to_string())
            }
            Request::Transfer(transfer) => match self.raft.handle_transfer_leader(transfer).await {
                Ok(Ok(())) => Ok(Answer::Transferred),
                Ok(Err(refused)) => Err(refused.to_string()),
                Err(fatal) => Err(fatal.to_string()),
            },
        };
        Ok(answer.unwrap_or_else(Answer::Fault).encode())
    }

    /// How it sees the cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members: &Members = &metrics.membership_config;
        let now = TypeConfig::now();
        let left = |heard: InstantOf<TypeConfig>| {
            let end = heard + self.lease;
            if now < end { end - now } else { Duration::ZERO }
        };
        let is_leader = metrics.state.is_leader();
        let sure_for = metrics.last_quorum_acked.as_deref().copied().filter(|_| is_leader).map(left);
        let sure_for = sure_for.unwrap_or_default();
        let heartbeats = metrics.heartbeat.as_ref();
        let progress = |(&id, matched): (&NodeId, &Option<RaftId>)| {
            let has = matched.as_ref().map_or(0, |matched| matched.index + 1);
            let lag = metrics.last_log_index.map_or(0, |last| last + 1).saturating_sub(has);
            let heard = heartbeats.and_then(|heard| heard.get(&id)?.as_deref().copied());
            let is_heard = heard.is_some_and(|heard| !left(heard).is_zero());
            (id, Progress { lag, is_heard })
        };
        Status {
            term: metrics.current_term,
            leader: metrics.current_leader,
            is_leader,
            is_sure: !sure_for.is_zero(),
            sure_for,
            applied: metrics.last_applied.as_ref().map(of_raft_id),
            others: metrics.replication.iter().flatten().map(progress).collect(),
            members: members.nodes().map(|(&id, peer)| (id, peer.clone())).collect(),
            works: metrics.running_state.is_ok(),
            fault: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }

    /// Whether a cluster was founded, as far as its log says.
    ///
    /// # Errors
    /// It takes no part any more.
    pub async fn is_founded(&self) -> io::Result<bool> {
        self.raft.is_initialized().await.map_err(io::Error::other)
    }

    /// Has another node lead, that which lags least of those that were heard of lately; whether one
    /// was seen to within this time.
    pub async fn hand_over(&self, within: Duration) -> bool {
        let handed = timeout(within, async {
            let mut changes = self.changes();
            while let Status { is_leader: true, others, .. } = self.status() {
                let heard = others.into_iter().filter(|(id, progress)| progress.is_heard && *id != self.id);
                if let Some((to, _)) = heard.min_by_key(|(_, progress)| progress.lag)
                    && self.raft.trigger().transfer_leader(to).await.is_err()
                {
                    return false;
                }
                // It is asked again in case it did not have all of the log yet.
                let again = async { while changes.changed().await.is_ok() && self.status().is_leader {} };
                let _soon = timeout(TRANSFER_AGAIN, again).await;
            }
            true
        });
        handed.await.unwrap_or(false)
    }

    /// What tells when [`Member::status`] may have changed; the first time it may do so at once.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.raft.metrics())
    }

    /// Starts a broker's commit thread on the tables of this node, for the term in which it leads.
    /// That broker fails once the term is over; it has to be closed or dropped before the next one
    /// begins.
    ///
    /// # Errors
    /// It does not lead.
    pub async fn lead(&self) -> Result<Opened, StoreError> {
        let proposer = self.proposer(self.status().term);
        match proposer.propose_and_wait(self.replica.begin()).await {
            Ok(Outcome::Applied) => {}
            Ok(Outcome::Refused) | Err(NotApplied) => return Err(StoreError::NotLeading),
        }
        self.replica.serve(Arc::new(proposer))
    }

    /// Proposes an entry of [`Replica`] for this term, and waits for what becomes of it here.
    ///
    /// # Errors
    /// Nothing does, or nobody knows.
    pub async fn propose(&self, term: u64, entry: Bytes) -> Result<Outcome, NotApplied> {
        self.proposer(term).propose_and_wait(entry).await
    }

    fn proposer(&self, term: u64) -> Proposer {
        Proposer { raft: self.raft.clone(), term, runtime: Handle::current() }
    }

    /// Ends its part.
    pub async fn shutdown(&self) {
        // It has ended, which is all there is to know.
        let _ended = self.raft.shutdown().await;
    }
}

impl Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("status", &self.status()).finish()
    }
}

impl Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("id", &self.id).field("timing", &self.timing).finish_non_exhaustive()
    }
}

/// Entries that go to another node at a time.
const ENTRIES_MAX: u64 = 64;

/// How long entries may take to another node and onto its disk: as long as 256 MiB take at half a
/// gigabit a second, and as a disk that stalls. Whether the node is there heartbeats tell.
const APPEND_WAIT: Duration = Duration::from_secs(5);

/// How long a node that is asked to lead has until it is asked again.
const TRANSFER_AGAIN: Duration = Duration::from_millis(100);

/// Proposes in one term.
struct Proposer {
    raft: RaftNode,
    term: u64,
    runtime: Handle,
}

impl Proposer {
    async fn propose_and_wait(&self, entry: Bytes) -> Result<Outcome, NotApplied> {
        let (responder, done) = OneshotResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::new_pair();
        let write = self.raft.write(Data(entry)).with_leader(Leader::new(self.term)).responder(responder);
        write.await.map_err(|_fatal| NotApplied)?;
        match done.await {
            Ok(Ok(written)) => Ok(written.data),
            Ok(Err(_)) | Err(_) => Err(NotApplied),
        }
    }
}

impl Propose for Proposer {
    /// Called by a commit thread, which is none of the runtime's.
    fn propose(&self, entry: Bytes) -> Result<(), NotApplied> {
        match self.runtime.block_on(self.propose_and_wait(entry))? {
            Outcome::Applied => Ok(()),
            Outcome::Refused => Err(NotApplied),
        }
    }
}

/// The way to all other nodes.
struct Network {
    transport: Arc<dyn Transport>,
}

/// The way to one other node.
struct Connection {
    to: NodeId,
    transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, _node: &Peer) -> Connection {
        Connection { to: target, transport: Arc::clone(&self.transport) }
    }
}

impl Connection {
    /// Asks, and waits for the answer no longer than it is of use.
    async fn ask(&self, request: Request, option: RPCOption) -> Result<Answer, RPCError<TypeConfig>> {
        // A node that is behind, or whose disk is slow, is not to be sent the same again and again.
        let has_entries = matches!(&request, Request::Append(append) if !append.entries.is_empty());
        let wait = if has_entries { APPEND_WAIT.max(option.hard_ttl()) } else { option.hard_ttl() };
        let answer = timeout(wait, self.transport.call(self.to, request.encode())).await;
        let answer = match answer {
            Ok(Ok(answer)) => Answer::decode(answer),
            Ok(Err(error)) => return Err(Unreachable::new(&error).into()),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        };
        answer.map_err(|error| NetworkError::new(&error).into())
    }
}

/// An answer to something else.
fn unexpected(answer: &Answer) -> RPCError<TypeConfig> {
    NetworkError::new(&AnyError::error(format!("{answer:?}"))).into()
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        rpc: Append,
        option: RPCOption,
    ) -> Result<Appended, RPCError<TypeConfig>> {
        match self.ask(Request::Append(rpc), option).await? {
            Answer::Appended(appended) => Ok(appended),
            other => Err(unexpected(&other)),
        }
    }

    async fn vote(&mut self, rpc: AskVote, option: RPCOption) -> Result<Voted, RPCError<TypeConfig>> {
        match self.ask(Request::Vote(rpc), option).await? {
            Answer::Voted(voted) => Ok(voted),
            other => Err(unexpected(&other)),
        }
    }

    async fn pre_vote(&mut self, rpc: AskVote, option: RPCOption) -> Result<Voted, RPCError<TypeConfig>> {
        match self.ask(Request::PreVote(rpc), option).await? {
            Answer::Voted(voted) => Ok(voted),
            other => Err(unexpected(&other)),
        }
    }

    async fn transfer_leader(
        &mut self,
        transfer: Transfer,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::Transfer(transfer), option).await? {
            Answer::Transferred => Ok(Ok(())),
            other => Err(unexpected(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        _vote: RaftVote,
        _snapshot: Snapshot<Leader, NodeId, Peer, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let none = AnyError::error("this version sends no snapshots");
        Err(StreamingError::Unreachable(Unreachable::new(&none)))
    }
}

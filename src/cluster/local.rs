//! This process's node: from its files, by way of the founding of the cluster, to its part in it;
//! and what it answers on its port.

use super::ask::{FORWARD, Forwarded, STATE, STATUS, decode_status, encode_status};
use super::founding::{Founding, Heard, Kept, Step, decide};
use super::handshake::{Introduction, SharedSecret};
use super::log_store::NOTE_SELF;
use super::tcp::{Identity, Respond, TcpTransport, ask, meet};
use super::types::{NodeId, Peer, malformed};
use super::{Call, Member, Parts, Timing, Transport};
use crate::blocking;
use crate::cluster_status::{ClusterStatus, NodeStatus, Role};
use crate::machine::random_bytes;
use crate::store::replica::Replica;
use crate::store::replica::log::RaftLog;
use crate::store::{Options, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// How often a node asks its peers until it belongs to a cluster, and how long it waits for them.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_WAIT: Duration = Duration::from_secs(1);

/// A node that has joined a cluster and hears nothing of it for so long begins it itself: it may be
/// that the one that founded it is gone. That several do is harmless, as all name the same members.
const BEGIN_AFTER: Duration = Duration::from_secs(2);

/// What the settings say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What this node is called; one of `peers`.
    pub name: String,
    /// All nodes by their names, and where they are reached.
    pub peers: BTreeMap<String, String>,
    /// What all of them know.
    pub secret: SharedSecret,
    /// How long nodes wait for each other.
    pub timing: Timing,
}

/// Why a node cannot start, or not go on.
#[derive(Debug)]
pub enum NodeFault {
    /// Its data cannot be used.
    Store(StoreError),
    /// The data is that of a node with another name.
    OtherName {
        /// That name.
        theirs: String,
        /// The one in the settings.
        ours: String,
    },
    /// Where this node is to be reached another process has the same data.
    Copy {
        /// The address.
        address: String,
    },
}

/// This process's node; clones are the same.
#[derive(Clone)]
pub struct LocalNode(Arc<Shared>);

struct Shared {
    settings: Settings,
    process: u64,
    node: NodeId,
    replica: Replica,
    /// The cluster that it belongs to.
    founding: OnceLock<Founding>,
    /// What it waits for until then.
    waits_for: Mutex<String>,
    /// Its log, until the member has it.
    log: Mutex<Option<RaftLog>>,
    part: OnceLock<Part>,
    /// Takes clients that other nodes forward, as long as this one serves any.
    takes: Mutex<Option<TakesClients>>,
}

/// Takes a client.
pub type TakesClients = Arc<dyn Fn(TcpStream, Forwarded) + Send + Sync>;

/// A node's part in the cluster.
struct Part {
    member: Member,
    transport: Arc<TcpTransport>,
}

/// Connections to peers, by their names.
type Connections = BTreeMap<String, TcpStream>;

impl LocalNode {
    /// Opens the data of the folder `dir`, or makes it.
    ///
    /// # Errors
    /// It cannot be used, or is that of another node.
    pub fn open(dir: &Path, options: Options, settings: Settings) -> Result<Self, NodeFault> {
        let replica = Replica::open(dir, options)?;
        let mut log = RaftLog::open_in(dir)?;
        let kept = match log.note(NOTE_SELF) {
            Some(bytes) => Kept::decode(bytes).map_err(StoreError::Io)?,
            None => {
                let kept = Kept { node: random()?, name: settings.name.clone(), founding: None };
                log.set_note(NOTE_SELF, kept.encode())?;
                log.sync()?;
                kept
            }
        };
        if kept.name != settings.name {
            return Err(NodeFault::OtherName { theirs: kept.name, ours: settings.name });
        }
        let founding = OnceLock::new();
        kept.founding.into_iter().for_each(|kept| drop(founding.set(kept)));
        Ok(Self(Arc::new(Shared {
            settings,
            process: random()?,
            node: kept.node,
            replica,
            founding,
            waits_for: Mutex::default(),
            log: Mutex::new(Some(log)),
            part: OnceLock::new(),
            takes: Mutex::default(),
        })))
    }

    /// Takes part in the cluster, once it belongs to one. To be called once, while its port is
    /// served.
    ///
    /// # Errors
    /// It cannot.
    pub async fn take_part(&self) -> Result<Member, NodeFault> {
        self.check_address().await?;
        let (founding, is_founder) = self.belong().await?;
        let member = self.start(founding)?;
        let member = member.await.map_err(StoreError::Io)?;
        self.begin(&member, founding, is_founder).await;
        Ok(member)
    }

    /// Has clients that other nodes forward taken by this one from now on, or by nobody.
    pub fn take_clients(&self, takes: Option<TakesClients>) {
        *self.0.takes() = takes;
    }

    /// A connection to the server of the node that leads, for a client that has come here.
    ///
    /// # Errors
    /// None leads, or it cannot be reached, or serves nobody yet.
    pub async fn forward(&self, client: Forwarded) -> io::Result<TcpStream> {
        let unknown = || io::Error::other("no other node leads the cluster");
        let part = self.0.part.get().ok_or_else(unknown)?;
        let leader =
            part.member.status().leader.filter(|&leader| leader != self.0.node).ok_or_else(unknown)?;
        let opened = timeout(ASK_WAIT, async {
            let mut stream = part.transport.connect(leader).await?;
            let answer = ask(&mut stream, &client.encode()).await?;
            if answer[..] == [1] { Ok(stream) } else { Err(io::Error::other("it serves nobody yet")) }
        });
        opened.await.map_err(|_elapsed| io::ErrorKind::TimedOut)?
    }

    /// The tables.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.0.replica
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// Looks whether this is the process that the others reach by this node's address.
    async fn check_address(&self) -> Result<(), NodeFault> {
        let Shared { settings, .. } = &*self.0;
        let address = &settings.peers[&settings.name];
        let mine = self.identity();
        match timeout(ASK_WAIT, meet(address, &mine)).await {
            Ok(Ok((_, them))) if them.is_copy_of(&mine.me) => {
                return Err(NodeFault::Copy { address: address.clone() });
            }
            Ok(Ok((_, them))) if them.node != mine.me.node => {
                warn!(address, "at the address of this node answers another one, '{}'", them.name);
            }
            Ok(Ok(_itself)) => {}
            Ok(Err(error)) => warn!(address, %error, "this node does not reach itself by its own address"),
            Err(_elapsed) => warn!(address, "this node does not reach itself by its own address"),
        }
        Ok(())
    }

    /// Waits until it belongs to a cluster: which one, and whether it was this node that founded
    /// it.
    async fn belong(&self) -> Result<(&Founding, bool), NodeFault> {
        let mut connections = Connections::new();
        loop {
            if let Some(founding) = self.0.founding.get() {
                return Ok((founding, false));
            }
            let (heard, refused) = self.hear(&mut connections).await;
            match decide(&self.kept(), &self.0.settings.peers, &heard) {
                Step::Wait(why) => {
                    let (why, wait) = match refused {
                        Some(refused) => (format!("{why}; {refused}"), ASK_WAIT),
                        None => (why, ASK_EVERY),
                    };
                    self.wait_for(why);
                    sleep(wait).await;
                }
                Step::Join(founding) => return Ok((self.settle(founding)?, false)),
                Step::Found(members) => {
                    let cluster = random_bytes().map_err(StoreError::Io)?;
                    return Ok((self.settle(Founding { cluster, members })?, true));
                }
            }
        }
    }

    /// What the peers answer, of those that do, and why one refuses, if one does.
    async fn hear(&self, connections: &mut Connections) -> (BTreeMap<String, Heard>, Option<String>) {
        let mut asked = JoinSet::new();
        for (name, address) in &self.0.settings.peers {
            if *name == self.0.settings.name {
                continue;
            }
            let (name, address, identity) = (name.clone(), address.clone(), self.identity());
            let kept = connections.remove(&name);
            asked.spawn(async move {
                let answer = timeout(ASK_WAIT, async {
                    let mut stream = match kept {
                        Some(stream) => stream,
                        None => meet(&address, &identity).await?.0,
                    };
                    let answer = ask(&mut stream, &[STATE]).await?;
                    io::Result::Ok((stream, Heard::decode(answer)?))
                });
                (name, answer.await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())))
            });
        }
        let (mut heard, mut refused) = (BTreeMap::new(), None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((name, Ok((stream, answer)))) => {
                    connections.insert(name.clone(), stream);
                    heard.insert(name, answer);
                }
                Ok((name, Err(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
                    refused = Some(format!("with node '{name}': {error}"));
                }
                Ok((_, Err(_))) | Err(_) => {}
            }
        }
        (heard, refused)
    }

    /// Logs what it waits for, when that changes.
    fn wait_for(&self, why: String) {
        let mut waits_for = self.0.waits_for();
        if *waits_for != why {
            info!("this node waits to belong to a cluster: {why}");
            *waits_for = why;
        }
    }

    /// Belongs to this cluster from now on, also when it is started again.
    fn settle(&self, founding: Founding) -> Result<&Founding, StoreError> {
        // From the moment on at which others may be told, nothing else is decided.
        let founding = self.0.founding.get_or_init(|| founding);
        let kept = self.kept().encode();
        blocking::run(|| {
            let mut log = self.0.log();
            let log = log.as_mut().ok_or_else(|| StoreError::BrokerFault("a node began twice".to_owned()))?;
            log.set_note(NOTE_SELF, kept)?;
            log.sync()
        })?;
        self.0.waits_for().clear();
        let names: Vec<&str> = founding.members.values().map(|peer| peer.name.as_str()).collect();
        info!(cluster = hex(&founding.cluster), "this node belongs to the cluster of {}", names.join(", "));
        Ok(founding)
    }

    /// Starts the member.
    fn start(
        &self,
        founding: &Founding,
    ) -> Result<impl Future<Output = io::Result<Member>> + use<>, NodeFault> {
        let log = self.0.log().take();
        let log = log.ok_or_else(|| StoreError::BrokerFault("a node began twice".to_owned()))?;
        let addresses = founding.members.iter().map(|(&id, peer)| (id, self.address(peer))).collect();
        let transport = Arc::new(TcpTransport::new(self.identity(), addresses));
        let parts = Parts {
            id: self.0.node,
            log,
            syncs_aside: true,
            replica: self.0.replica.clone(),
            transport: Arc::clone(&transport) as Arc<dyn Transport>,
            timing: self.0.settings.timing.clone(),
            seed: self.0.process,
        };
        let shared = Arc::clone(&self.0);
        Ok(async move {
            let member = Member::start(parts).await?;
            let _first = shared.part.set(Part { member: member.clone(), transport });
            Ok(member)
        })
    }

    /// Sees to it that somebody begins the cluster.
    async fn begin(&self, member: &Member, founding: &Founding, is_founder: bool) {
        let (member, members) = (member.clone(), founding.members.clone());
        let begin = async move {
            if matches!(member.is_founded().await, Ok(false))
                && let Err(error) = member.found(members).await
            {
                info!(%error, "the cluster has begun already");
            }
        };
        if is_founder {
            begin.await;
        } else {
            tokio::spawn(async move {
                sleep(BEGIN_AFTER).await;
                begin.await;
            });
        }
    }

    /// Whether somebody is a node of this cluster: whoever belongs to none has no part in it.
    fn belongs_here(&self, who: &Introduction) -> bool {
        let cluster = self.0.founding.get().map(|founding| founding.cluster);
        who.cluster.is_some() && who.cluster == cluster
    }

    fn kept(&self) -> Kept {
        let name = self.0.settings.name.clone();
        Kept { node: self.0.node, name, founding: self.0.founding.get().cloned() }
    }

    /// Where a member is reached: as the settings say, so that nodes can move.
    fn address(&self, peer: &Peer) -> String {
        self.0.settings.peers.get(&peer.name).unwrap_or(&peer.address).clone()
    }

    /// How the nodes stand, as far as this one knows.
    #[must_use]
    pub fn known_status(&self) -> ClusterStatus {
        let node = self.0.settings.name.clone();
        let (Some(part), Some(founding)) = (self.0.part.get(), self.0.founding.get()) else {
            let outside = |(name, address): (&String, &String)| NodeStatus {
                name: name.clone(),
                address: address.clone(),
                role: Role::Outside,
                running: (*name == node).then_some(true),
                lag: None,
            };
            let nodes = self.0.settings.peers.iter().map(outside).collect();
            return ClusterStatus { node, leader: None, nodes, waits_for: Some(self.0.waits_for().clone()) };
        };
        let status = part.member.status();
        let members = if status.members.is_empty() { &founding.members } else { &status.members };
        let leader = status.leader.filter(|&leader| leader != self.0.node || status.is_sure);
        let mut nodes: Vec<NodeStatus> = members
            .iter()
            .map(|(id, peer)| {
                let is_leader = leader == Some(*id);
                let is_self = *id == self.0.node;
                let progress = status.others.get(id).filter(|_| !is_self);
                NodeStatus {
                    name: peer.name.clone(),
                    address: self.address(peer),
                    role: if is_leader { Role::Leader } else { Role::Follower },
                    running: progress.map(|progress| progress.is_heard).or(is_self.then_some(true)),
                    lag: progress.map(|progress| progress.lag).or((is_self && is_leader).then_some(0)),
                }
            })
            .collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let leader = leader.and_then(|leader| members.get(&leader)).map(|peer| peer.name.clone());
        ClusterStatus { node, leader, nodes, waits_for: None }
    }

    /// How the nodes stand: as the leader says, if it answers.
    pub async fn status(&self) -> ClusterStatus {
        let known = self.known_status();
        let Some(part) = self.0.part.get() else { return known };
        let leader = part.member.status().leader.filter(|&leader| leader != self.0.node);
        let Some(leader) = leader else { return known };
        let asked = timeout(ASK_WAIT, part.transport.call(leader, Bytes::from_static(&[STATUS]))).await;
        match asked.map(|answer| answer.and_then(decode_status)) {
            Ok(Ok(told)) => ClusterStatus { node: known.node, ..told },
            Ok(Err(_)) | Err(_) => known,
        }
    }
}

impl Respond for LocalNode {
    fn identity(&self) -> Identity {
        let Shared { settings, process, node, founding, .. } = &*self.0;
        let (name, cluster) = (settings.name.clone(), founding.get().map(|founding| founding.cluster));
        let me = Introduction { node: *node, process: *process, cluster, name };
        Identity { secret: settings.secret.clone(), me }
    }

    fn respond<'a>(&'a self, from: &'a Introduction, request: Bytes) -> Call<'a> {
        Box::pin(async move {
            match request.first() {
                Some(&STATE) => {
                    let Kept { node, name, founding } = self.kept();
                    let peers = self.0.settings.peers.keys().cloned().collect();
                    Ok(Heard { node, name, peers, founding }.encode())
                }
                Some(&STATUS) => Ok(encode_status(&self.known_status())),
                Some(&FORWARD) => {
                    let takes = self.belongs_here(from) && self.0.takes().is_some();
                    Forwarded::decode(request.slice(1..))?;
                    Ok(Bytes::copy_from_slice(&[takes.into()]))
                }
                _ => {
                    let part = self.0.part.get().filter(|_| self.belongs_here(from));
                    part.ok_or_else(malformed)?.member.handle(request).await
                }
            }
        })
    }

    fn take(&self, from: &Introduction, request: &[u8], stream: TcpStream) -> Option<TcpStream> {
        if request.first() != Some(&FORWARD) {
            return Some(stream);
        }
        // If nobody takes clients any more, this one finds its connection closed.
        let takes = self.0.takes().clone().filter(|_| self.belongs_here(from))?;
        let client = Forwarded::decode(Bytes::copy_from_slice(&request[1..])).ok()?;
        takes(stream, client);
        None
    }
}

impl Shared {
    fn takes(&self) -> MutexGuard<'_, Option<TakesClients>> {
        self.takes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits_for(&self) -> MutexGuard<'_, String> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Option<RaftLog>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random() -> Result<u64, StoreError> {
    Ok(u64::from_be_bytes(random_bytes()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Debug for LocalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNode").field("name", &self.0.settings.name).finish_non_exhaustive()
    }
}

impl From<StoreError> for NodeFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => Display::fmt(error, f),
            Self::OtherName { theirs, ours } => write!(
                f,
                "the data is that of node '{theirs}', and cluster.node is '{ours}': a node keeps its name, and its \
                 data cannot be copied to another one"
            ),
            Self::Copy { address } => write!(
                f,
                "another process with the data of this node answers at {address}: one of the two has a copy, and a \
                 node must not vote twice"
            ),
        }
    }
}

impl std::error::Error for NodeFault {}

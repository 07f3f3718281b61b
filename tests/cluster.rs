//! Three nodes over TCP on the loopback interface, in one process and in real time: the broker goes
//! from one to another with all that was confirmed; strangers are refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod processes;

use crate::store::wait_for;
use crate::support::folder::Folder;
use leveret::cluster::handshake::{Introduction, SharedSecret};
use leveret::cluster::tcp::{Identity, Respond, TcpTransport, meet, serve};
use leveret::cluster::{Call, Member, NodeId, Parts, Peer, Timing};
use leveret::ids::QueueId;
use leveret::message::{BlockBuilder, Message};
use leveret::store::change::{Change, Log, QueueRecord};
use leveret::store::replica::Replica;
use leveret::store::replica::log::RaftLog;
use leveret::store::{Opened, Options};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long anything may take at most; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const SECRET: &[u8] = b"known to all nodes of the test";

const QUEUE: QueueId = QueueId(1);

fn identity(node: NodeId, secret: &[u8]) -> Identity {
    let me = Introduction { node, process: node, cluster: Some([7; 16]), name: format!("node {node}") };
    Identity { secret: SharedSecret::new(secret).unwrap(), me }
}

/// Answers for a member.
struct Answering(Identity, Member);

impl Respond for Answering {
    fn identity(&self) -> Identity {
        self.0.clone()
    }

    fn respond<'a>(&'a self, _from: &'a Introduction, request: bytes::Bytes) -> Call<'a> {
        Box::pin(self.1.handle(request))
    }
}

/// A node at work.
struct Node {
    member: Member,
    replica: Replica,
    server: JoinHandle<()>,
}

/// Three folders, and where their nodes are.
struct Cluster {
    folder: Folder,
    addresses: BTreeMap<NodeId, SocketAddr>,
    nodes: BTreeMap<NodeId, Node>,
}

impl Cluster {
    async fn new() -> Self {
        let mut listeners = BTreeMap::new();
        for node in 1..=3 {
            listeners.insert(node, TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses =
            listeners.iter().map(|(&node, listener)| (node, listener.local_addr().unwrap())).collect();
        let mut cluster = Self { folder: Folder::new(), addresses, nodes: BTreeMap::new() };
        for (node, listener) in listeners {
            cluster.start(node, listener).await;
        }
        let peer = |(&node, address): (&NodeId, &SocketAddr)| {
            (node, Peer { name: format!("node {node}"), address: address.to_string() })
        };
        cluster.nodes[&2].member.found(cluster.addresses.iter().map(peer).collect()).await.unwrap();
        cluster
    }

    async fn start(&mut self, node: NodeId, listener: TcpListener) {
        let dir = self.folder.at(&node.to_string());
        let replica = Replica::open(&dir, Options { reserve_bytes: Some(0), ..Options::default() }).unwrap();
        let others = self.addresses.iter().map(|(&node, address)| (node, address.to_string())).collect();
        let parts = Parts {
            id: node,
            log: RaftLog::open_in(&dir).unwrap(),
            syncs_aside: true,
            replica: replica.clone(),
            transport: Arc::new(TcpTransport::new(identity(node, SECRET), others)),
            // On a machine that does much else nobody is to be elected but for a death.
            timing: Timing { heartbeat_ms: 200, election_ms: 1000..1600 },
            seed: node,
        };
        let member = Member::start(parts).await.unwrap();
        let server =
            tokio::spawn(serve(listener, Arc::new(Answering(identity(node, SECRET), member.clone()))));
        self.nodes.insert(node, Node { member, replica, server });
    }

    /// Ends a node as a kill does: nothing is put into its tables.
    async fn kill(&mut self, node: NodeId) {
        let Node { member, replica, server } = self.nodes.remove(&node).unwrap();
        server.abort();
        let _ended = server.await;
        member.shutdown().await;
        drop(replica);
    }

    /// Starts a node again where it was.
    async fn restart(&mut self, node: NodeId) {
        let listener = TcpListener::bind(self.addresses[&node]).await.unwrap();
        self.start(node, listener).await;
    }

    /// Has a broker begin on whoever leads.
    async fn lead(&self) -> (NodeId, Opened) {
        loop {
            let leader = self.nodes.iter().find(|(_, node)| node.member.status().is_leader);
            if let Some((&id, node)) = leader
                && let Ok(opened) = node.member.lead().await
            {
                return (id, opened);
            }
            let (any, _) = self.nodes.iter().next().unwrap();
            let _soon = timeout(Duration::from_millis(100), self.nodes[any].member.changes().changed()).await;
        }
    }
}

/// Appends changes one after the other, and waits for each.
async fn commit(log: &Arc<dyn Log>, changes: Vec<Change>) {
    let log = Arc::clone(log);
    let work = move || {
        for change in changes {
            let ticket = log.append(&mut vec![change]);
            wait_for(&log, ticket);
        }
    };
    spawn_blocking(work).await.unwrap();
}

fn declare() -> Change {
    let (vhost, name) = ("/".to_owned(), "jobs".to_owned());
    Change::DeclareQueue(QueueRecord { id: QUEUE, vhost, name, auto_delete: false, arguments: Vec::new() })
}

/// One message with this number.
fn publish(first: u64) -> Change {
    let mut builder = BlockBuilder::default();
    let body = format!("message {first}");
    builder.push(&Message {
        persistent: true,
        ..Message::published(1, (b"", b"jobs"), &[0, 0], body.as_bytes())
    });
    Change::Publish { queue: QUEUE, first, block: Arc::new(builder.build()), range: 0..1 }
}

/// How many messages a broker has found, and the next number that it gives.
fn found(opened: &Opened) -> (u64, u64) {
    let queue = &opened.recovered.queues[0];
    assert_eq!(queue.record.name, "jobs");
    (queue.messages.iter().map(|range| range.len()).sum(), queue.lanes[0].next)
}

async fn close(opened: Opened) {
    spawn_blocking(move || drop(opened)).await.unwrap();
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn the_broker_goes_from_node_to_node_with_all_that_was_confirmed() {
    let work = async {
        let mut cluster = Cluster::new().await;
        let (mut leader, mut opened) = cluster.lead().await;
        commit(&opened.log, vec![declare()]).await;
        let (mut confirmed, mut next) = (0, 0);
        // Each node leads, or dies, or both.
        for _ in 0..3 {
            commit(&opened.log, (next..next + 20).map(publish).collect()).await;
            confirmed += 20;
            let dead = leader;
            cluster.kill(dead).await;
            let (new, begun) = cluster.lead().await;
            assert_ne!(new, dead);
            close(std::mem::replace(&mut opened, begun)).await;
            let messages;
            (messages, next) = found(&opened);
            assert_eq!(messages, confirmed, "on node {new} after the death of node {dead}");
            commit(&opened.log, vec![publish(next)]).await;
            (confirmed, next, leader) = (confirmed + 1, next + 1, new);
            cluster.restart(dead).await;
        }
        close(opened).await;
        for node in 1..=3 {
            if cluster.nodes.contains_key(&node) {
                cluster.kill(node).await;
            }
        }
    };
    runtime().block_on(async { timeout(PATIENCE, work).await.unwrap() });
}

#[test]
fn a_majority_is_enough_and_less_confirms_nothing() {
    let work = async {
        let mut cluster = Cluster::new().await;
        let (leader, opened) = cluster.lead().await;
        commit(&opened.log, vec![declare()]).await;
        let others: Vec<NodeId> = (1..=3).filter(|&node| node != leader).collect();
        cluster.kill(others[0]).await;
        commit(&opened.log, (0..20).map(publish).collect()).await;
        cluster.kill(others[1]).await;
        let ticket = opened.log.append(&mut vec![publish(20)]);
        // It finds out that it may be alone.
        while cluster.nodes[&leader].member.status().is_sure {
            let _soon =
                timeout(Duration::from_millis(20), cluster.nodes[&leader].member.changes().changed()).await;
        }
        assert!(opened.log.durable() < ticket, "one of three has confirmed");
        cluster.restart(others[1]).await;
        let (_, begun) = cluster.lead().await;
        close(opened).await;
        let (messages, _) = found(&begun);
        assert!((20..=21).contains(&messages), "{messages}: one was never confirmed");
        close(begun).await;
    };
    runtime().block_on(async { timeout(PATIENCE, work).await.unwrap() });
}

#[test]
fn the_port_refuses_strangers() {
    let work = async {
        let cluster = Cluster::new().await;
        let address = cluster.addresses[&1].to_string();
        let (_stream, them) = meet(&address, &identity(9, SECRET)).await.unwrap();
        assert_eq!((them.node, them.name.as_str()), (1, "node 1"));
        let refused = meet(&address, &identity(9, b"what somebody has guessed")).await.unwrap_err();
        assert_eq!(refused.to_string(), "the other node refuses: the secrets of the two nodes differ");
        let mut other = identity(9, SECRET);
        other.me.cluster = Some([8; 16]);
        let refused = meet(&address, &other).await.unwrap_err();
        assert_eq!(refused.to_string(), "the other node refuses: node 'node 1' belongs to another cluster");
    };
    runtime().block_on(async { timeout(PATIENCE, work).await.unwrap() });
}

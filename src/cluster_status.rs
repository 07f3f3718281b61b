//! How the nodes of a cluster stand, as plain values: for commands, the HTTP API and metrics, which
//! are built with and without `cluster`.

use serde::Serialize;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// How the nodes of a cluster stand, as one of them sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// The node that says so.
    pub node: String,
    /// The node that leads and serves clients, if one is known to.
    pub leader: Option<String>,
    /// All nodes, in the order of their names.
    pub nodes: Vec<NodeStatus>,
    /// What the node that says so waits for, as long as it does not belong to a cluster.
    pub waits_for: Option<String>,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Where the other nodes reach it.
    pub address: String,
    /// Its part.
    pub role: Role,
    /// Whether the leader has heard of it within the last second or so; none if nobody knows.
    pub running: Option<bool>,
    /// Entries of the leader's log that it has not told to have; none if nobody knows.
    pub lag: Option<u64>,
}

/// The part of a node in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It serves clients, and its log is the cluster's.
    Leader,
    /// It keeps what the leader sends.
    Follower,
    /// It is named in the settings, and belongs to no cluster yet.
    Outside,
}

/// Tells how the cluster stands, as far as a node knows at once.
pub type KnownStatus = Arc<dyn Fn() -> ClusterStatus + Send + Sync>;

/// Tells how the cluster stands, for which another node may have to be asked.
pub type AskedStatus = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ClusterStatus> + Send>> + Send + Sync>;

impl ClusterStatus {
    /// A broker without a cluster: its one node leads.
    #[must_use]
    pub fn alone(node: &str) -> Self {
        let name = node.to_owned();
        let only = NodeStatus {
            name: name.clone(),
            address: String::new(),
            role: Role::Leader,
            running: Some(true),
            lag: Some(0),
        };
        Self { node: name.clone(), leader: Some(name), nodes: vec![only], waits_for: None }
    }
}

impl Role {
    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Outside => "outside",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! A node of a cluster: it has a broker as long as it leads.
//!
//! One task has the say. It begins a broker on the node's tables once the node leads and has
//! applied an entry of its own term; it drops the broker whole, with all connections, once the node
//! may not be the only one that leads. What is not confirmed by then never is, as it takes a
//! majority.
//!
//! The node's ports are open all the time. Who takes the clients of AMQP, if this node does, is in
//! a [`Leading`]; the HTTP server is another one while there is no broker.

use super::serving::{HttpPorts, Logs, Serving};
use super::{
    STOP_WAIT, Sockets, StartError, StopError, begin, listener_options, off_the_runtime, operators_socket,
    reload, settings,
};
use crate::broker::OfCluster;
use crate::cluster::handshake::SharedSecret;
use crate::cluster::tcp::{Respond, serve};
use crate::cluster::{
    Forwarded, LocalNode, Member, NodeFault, NodeId, Settings, Status, TakesClients, Timing,
};
use crate::cluster_status::AskedStatus;
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::http;
use crate::server::{self, Ends, Forward, Leader, ListenerOptions, LogLines, Server, ShutdownReason};
use crate::store::{Opened, Options, StoreError};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

/// How long a broker may take to begin once its node leads, before it is looked again whether it
/// does.
const BEGIN_WAIT: Duration = Duration::from_secs(5);

/// How long connections may take to end when the node leads no more, or hands over.
const END_WAIT: Duration = Duration::from_millis(300);

/// How long the store of a broker may take to close. One that waits for a majority may never.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// How long another node may take to be seen leading.
const HAND_OVER_WAIT: Duration = Duration::from_secs(1);

/// How often it is looked whether the node leads where nothing tells of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Brokers that may fail one after the other while the node leads, before it gives up and lets
/// another one lead.
const FAILURES_MAX: u32 = 3;

/// A node of a cluster.
pub(super) struct Clustered {
    shared: Arc<Shared>,
    /// Stops the task when it is dropped or used.
    stop: oneshot::Sender<()>,
    /// The task that has the say; it ends when it is told to, or the node cannot go on.
    role: JoinSet<Result<(), StopError>>,
    /// What came of it.
    ended: Option<Result<(), StopError>>,
    /// Whoever listens.
    tasks: JoinSet<()>,
}

/// What the task and those who ask share.
struct Shared {
    config: Mutex<Config>,
    logs: Mutex<Logs>,
    /// Takes over changed settings as long as there is a broker.
    current: Mutex<Option<Reload>>,
}

/// Has the broker of the moment take over settings.
type Reload = Box<dyn Fn(&Config) + Send>;

impl Clustered {
    pub(super) async fn start(
        config: Config,
        cluster: &Cluster,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let secret = cluster.read_secret().map_err(StartError::Settings)?;
        let secret = SharedSecret::new(&secret);
        let secret =
            secret.ok_or_else(|| StartError::Settings("cluster.secret_file is too short".to_owned()))?;
        let listener = super::bind(cluster.listen)?;
        let of_node = Settings {
            name: cluster.node.clone(),
            peers: cluster.peers.clone(),
            secret,
            timing: Timing::default(),
        };
        let (dir, repair) = (config.data_dir.clone(), config.repair);
        let opened =
            off_the_runtime(move || LocalNode::open(&dir, Options { repair, ..Options::default() }, of_node));
        let node = opened.await?;
        tell(cluster);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(node.clone()) as Arc<dyn Respond>));
        let (leading, leader) = watch::channel(Leader::Unknown);
        let Sockets { amqp, amqps, http, https, addresses, certificates } = sockets;
        let options = listener_options(&config, certificates.clone());
        for (options, listeners) in options.into_iter().zip([amqp, amqps]) {
            for listener in listeners {
                tasks.spawn(server::accept_for(leader.clone(), listener, options.clone()));
            }
        }
        let http = HttpPorts {
            plain: http,
            tls: https,
            socket: operators_socket(&config),
            listeners: addresses.listeners(),
            certificates,
        };
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            logs: Mutex::default(),
            current: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let mut role = JoinSet::new();
        let task = Role {
            node,
            http,
            leading,
            shared: Arc::clone(&shared),
            follower: JoinSet::new(),
            failures: 0,
            seen: Default::default(),
        };
        role.spawn(task.run(stopped));
        Ok(Self { shared, stop, role, ended: None, tasks })
    }

    pub(super) fn publish_log(&mut self, lines: LogLines) {
        self.tell_of_log(&Logs { target: Some(lines.target()), ..Logs::default() });
        self.tasks.spawn(lines.publish());
    }

    /// Tells the brokers that begin from now on, and not one that has begun before.
    pub(super) fn tell_of_log(&self, logs: &Logs) {
        let Logs { recent, filter, target } = logs.clone();
        let mut logs = self.shared.logs();
        logs.recent = recent.or(logs.recent.take());
        logs.filter = filter.or(logs.filter.take());
        logs.target = target.or(logs.target.take());
    }

    pub(super) fn reload(&self, config: &Config) {
        // What takes effect at the next start does not at the next election.
        {
            let mut kept = self.shared.config();
            kept.limits = config.limits.clone();
            kept.memory_limit = config.memory_limit;
            kept.disk_free_limit = config.disk_free_limit;
            kept.users.local_only.clone_from(&config.users.local_only);
        }
        self.shared.current().iter().for_each(|reload| reload(config));
    }

    pub(super) async fn failed(&mut self) {
        tokio::select! {
            Some(ended) = self.role.join_next() => {
                let panicked = |_panic| Err(fault(StoreError::BrokerFault("the node's task has ended".to_owned())));
                self.ended = Some(ended.unwrap_or_else(panicked));
            }
            Some(_) = self.tasks.join_next() => {
                self.ended = Some(Err(fault(StoreError::BrokerFault("a listener has ended".to_owned()))));
            }
        }
    }

    pub(super) async fn shutdown(mut self) -> Result<(), StopError> {
        match &self.ended {
            None => info!("stopping"),
            Some(_) => error!("stopping because the node has failed"),
        }
        // It has ended already if this cannot be sent.
        let _ended = self.stop.send(());
        let ended = self.role.join_next().await;
        self.tasks.shutdown().await;
        match (self.ended, ended) {
            (Some(Err(error)), _) | (_, Some(Ok(Err(error)))) => Err(error),
            (_, Some(Err(_panic))) => {
                Err(fault(StoreError::BrokerFault("the node's task panicked".to_owned())))
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Option<Reload>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the operator should know at the start.
fn tell(cluster: &Cluster) {
    cluster.advice().into_iter().for_each(|advice| warn!("{advice}"));
    warn!(
        "clusters are not complete: the log of a node (leveret.raft) is never shortened, and a node that has lost its \
         data cannot come back; see docs/cluster.md"
    );
}

fn fault(error: StoreError) -> StopError {
    StopError::of(Some(error), false)
}

/// The task that has the say.
struct Role {
    node: LocalNode,
    http: HttpPorts,
    leading: watch::Sender<Leader>,
    shared: Arc<Shared>,
    /// The HTTP server of a node without a broker.
    follower: JoinSet<()>,
    /// Brokers that have failed in this term, or since one did well.
    failures: u32,
    /// Who led when it was last looked, and which nodes were heard of.
    seen: (Option<NodeId>, BTreeMap<NodeId, bool>),
}

/// A broker, and the term for which it is.
struct Reign {
    serving: Serving,
    term: u64,
}

impl Role {
    /// Goes on until it is stopped or cannot.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), StopError> {
        self.follow()?;
        let node = self.node.clone();
        let member = tokio::select! {
            member = node.take_part() => member.map_err(|why| stopped_by(StartError::from(why)))?,
            _ = &mut stopped => return Ok(()),
        };
        let (mut reign, mut changes): (Option<Reign>, _) = (None, member.changes());
        loop {
            let status = member.status();
            if !status.works {
                let why = status.fault.unwrap_or_default();
                self.depose(reign.take()).await;
                return Err(fault(StoreError::BrokerFault(format!(
                    "its part in the cluster has ended: {why}"
                ))));
            }
            let leads = |reign: &Reign| status.is_sure && status.term == reign.term;
            if reign.as_ref().is_some_and(|reign| !leads(reign)) {
                info!("this node leads the cluster no more: its clients are disconnected");
                self.depose(reign.take()).await;
                continue;
            }
            if reign.is_none() && status.is_sure {
                let begun = tokio::select! {
                    begun = self.reign(&member, status.term) => begun,
                    _ = &mut stopped => return self.finish(&member, None).await,
                };
                match begun {
                    Ok(begun) => reign = Some(begun),
                    Err(StartError::Store(StoreError::NotLeading)) => {}
                    Err(why) => return Err(stopped_by(why)),
                }
            }
            self.log_changes(&member.status());
            self.tell_who_leads(&member, reign.as_ref());
            let look = if status.is_sure { status.sure_for } else { LOOK_EVERY };
            tokio::select! {
                biased;
                _ = &mut stopped => return self.finish(&member, reign).await,
                () = failed(&mut reign) => self.mourn(&member, reign.take()).await?,
                changed = changes.changed() => if changed.is_err() {
                    self.depose(reign.take()).await;
                    let what = "its part in the cluster has ended".to_owned();
                    return Err(fault(StoreError::BrokerFault(what)));
                },
                () = sleep(look) => {}
            }
        }
    }

    /// Logs who leads, and who is not heard of, when that changes.
    fn log_changes(&mut self, status: &Status) {
        let name = |id: &NodeId| status.members.get(id).map_or("?", |peer| peer.name.as_str());
        let (leader, heard) = &mut self.seen;
        if *leader != status.leader {
            *leader = status.leader;
            match &status.leader {
                Some(_) if status.is_leader => {}
                Some(other) => info!("node '{}' leads the cluster", name(other)),
                None => info!("no node leads the cluster"),
            }
        }
        heard.retain(|id, _| status.others.contains_key(id));
        for (id, progress) in &status.others {
            match heard.insert(*id, progress.is_heard) {
                Some(true) if !progress.is_heard => warn!("node '{}' is not heard of any more", name(id)),
                Some(false) if progress.is_heard => info!("node '{}' is heard of", name(id)),
                _ => {}
            }
        }
    }

    /// Says where clients are to go.
    fn tell_who_leads(&self, member: &Member, reign: Option<&Reign>) {
        let status = member.status();
        let leader = match reign {
            Some(Reign { serving, .. }) => Leader::Here(Arc::clone(serving.server())),
            None if status.leader.is_some() && !status.is_leader => {
                Leader::Elsewhere(Arc::new(ToLeader(self.node.clone())))
            }
            None => Leader::Unknown,
        };
        self.leading.send_if_modified(|told| {
            let is_same = match (&*told, &leader) {
                (Leader::Here(told), Leader::Here(now)) => Arc::ptr_eq(told, now),
                (Leader::Elsewhere(_), Leader::Elsewhere(_)) | (Leader::Unknown, Leader::Unknown) => true,
                _ => false,
            };
            if !is_same {
                *told = leader;
            }
            !is_same
        });
    }

    /// Serves what a node without a broker does.
    fn follow(&mut self) -> Result<(), StopError> {
        let (node, runtime) = (self.node.clone(), tokio::runtime::Handle::current());
        // Connections to other nodes belong to this runtime.
        let status: AskedStatus = Arc::new(move || {
            let (node, known) = (node.clone(), node.clone());
            let asked = runtime.spawn(async move { node.status().await });
            Box::pin(async move { asked.await.unwrap_or_else(|_ended| known.known_status()) })
        });
        let ports = self.http.open().map_err(|error| fault(StoreError::Io(error)))?;
        self.follower.spawn(http::serve_following(ports, self.http.socket.clone(), status));
        Ok(())
    }

    /// Begins a broker.
    async fn reign(&mut self, member: &Member, term: u64) -> Result<Reign, StartError> {
        let led = timeout(BEGIN_WAIT, member.lead()).await;
        let opened: Opened = led.unwrap_or(Err(StoreError::NotLeading)).map_err(StartError::Store)?;
        let config = self.shared.config().clone();
        let known = self.node.clone();
        let of_cluster =
            OfCluster { node: self.node.name().to_owned(), status: Arc::new(move || known.known_status()) };
        let (broker, config) = off_the_runtime(move || {
            let settings = crate::broker::BrokerSettings { cluster: Some(of_cluster), ..settings(&config) };
            begin(&config, opened, settings).map(|broker| (broker, config))
        })
        .await?;
        self.shared.logs().tell(&broker);
        self.follower.shutdown().await;
        let serving = Serving::start(broker, &self.http, &config)?;
        let of = (Arc::clone(&serving.broker), Arc::clone(serving.server()));
        *self.shared.current() = Some(Box::new(move |config| reload(&of.0, &of.1, config)));
        let options = listener_options(&config, self.http.certificates.clone());
        self.node.take_clients(Some(takes_clients(Arc::clone(serving.server()), options)));
        info!(term, "this node leads the cluster and serves clients");
        Ok(Reign { serving, term })
    }

    /// Takes no more clients.
    fn serve_nobody(&self) {
        self.leading.send_replace(Leader::Unknown);
        self.node.take_clients(None);
        *self.shared.current() = None;
    }

    /// Drops a broker whole: all of its connections end.
    async fn depose(&mut self, reign: Option<Reign>) {
        self.serve_nobody();
        let Some(Reign { mut serving, .. }) = reign else { return };
        // Nothing is confirmed from here on, also if a majority should be heard of again.
        serving.broker.log().fail(StoreError::NotLeading);
        let _rest_is_cut = serving.end(ShutdownReason::Stop, END_WAIT).await;
        // It may wait for a majority for long, and nobody for it.
        tokio::spawn(async move { serving.close().await });
        if let Err(error) = self.follow() {
            error!(%error, "cannot serve HTTP while this node does not lead");
        }
    }

    /// Sees what became of a broker that has failed: if the node leads no more, that is why.
    async fn mourn(&mut self, member: &Member, reign: Option<Reign>) -> Result<(), StopError> {
        let Some(Reign { mut serving, term }) = reign else { return Ok(()) };
        self.serve_nobody();
        let _rest_is_cut = serving.end(ShutdownReason::Stop, END_WAIT).await;
        let closed = timeout(CLOSE_WAIT, serving.close()).await;
        let status = member.status();
        let is_deposed = !status.is_sure || status.term != term;
        match closed {
            Ok(Err(error)) if !is_deposed && !matches!(error, StoreError::NotLeading) => {
                let _handed_over = member.hand_over(HAND_OVER_WAIT).await;
                return Err(fault(error));
            }
            _ if is_deposed => self.failures = 0,
            _ => self.failures += 1,
        }
        if self.failures >= FAILURES_MAX {
            let _handed_over = member.hand_over(HAND_OVER_WAIT).await;
            let what =
                format!("{FAILURES_MAX} brokers have failed one after the other while this node leads");
            return Err(fault(StoreError::BrokerFault(what)));
        }
        info!("the broker of this node has ended with its lead: its clients are disconnected");
        self.follow()
    }

    /// Stops in order, and has another node lead.
    async fn finish(&mut self, member: &Member, reign: Option<Reign>) -> Result<(), StopError> {
        self.serve_nobody();
        self.follower.shutdown().await;
        let mut stopped = Ok(());
        if let Some(Reign { mut serving, .. }) = reign {
            let have_ended = serving.end(ShutdownReason::Stop, END_WAIT).await;
            if let Ok(Err(error)) = timeout(CLOSE_WAIT, serving.close()).await
                && !matches!(error, StoreError::NotLeading)
            {
                stopped = Err(StopError::of(Some(error), true));
            }
            if member.hand_over(HAND_OVER_WAIT).await {
                info!("another node leads the cluster");
            }
            if !have_ended && !serving.end(ShutdownReason::Stop, STOP_WAIT).await {
                warn!(seconds = STOP_WAIT.as_secs(), "closing connections that did not end in time");
            }
        }
        member.shutdown().await;
        let replica = self.node.replica().clone();
        let flushed = off_the_runtime(move || replica.flush()).await;
        flushed.map_err(|error| StopError::of(Some(error), true))?;
        stopped
    }
}

/// The way to whichever other node leads.
struct ToLeader(LocalNode);

impl Forward for ToLeader {
    fn open(
        &self,
        Ends { client, local }: Ends,
        by_tls: bool,
    ) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + '_>> {
        Box::pin(self.0.forward(Forwarded { by_tls, client, local }))
    }
}

/// Has this node's server take clients that other nodes forward. One that speaks TLS is let go if
/// this node has no certificates.
fn takes_clients(server: Arc<Server>, [plain, secure]: [ListenerOptions; 2]) -> TakesClients {
    Arc::new(move |socket, Forwarded { by_tls, client, local }| {
        let options = if by_tls { secure.clone() } else { plain.clone() };
        if by_tls && options.tls.is_none() {
            return debug!(%client, "closed: another node has forwarded a client of TLS, and this one has no [tls]");
        }
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.admit(socket, Ends { client, local }, &options).await });
    })
}

/// Waits until the broker has failed, if there is one.
async fn failed(reign: &mut Option<Reign>) {
    match reign {
        Some(reign) => reign.serving.failed().await,
        None => std::future::pending().await,
    }
}

/// Why a node stops whose broker cannot begin.
fn stopped_by(why: StartError) -> StopError {
    match why {
        StartError::Store(error) => fault(error),
        other => StopError { refusal: Some(other), ..StopError::of(None, false) },
    }
}

impl From<NodeFault> for StartError {
    fn from(fault: NodeFault) -> Self {
        match fault {
            NodeFault::Store(error) => Self::Store(error),
            other => Self::Settings(other.to_string()),
        }
    }
}

//! A broker at work: its connections, and what runs beside them.

use super::{StartError, off_the_runtime};
use crate::audit::recent::RecentLines;
use crate::broker::{Broker, LogFilter};
use crate::config::Config;
use crate::http::{self, Listener, Port, Served, Socket};
use crate::server::{self, LogTarget, Server, ShutdownReason};
use crate::store::StoreError;
use crate::tls::Certificates;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

/// A broker at work. When it is dropped its connections end, and its data is left as by a crash.
pub(super) struct Serving {
    pub(super) broker: Arc<Broker>,
    connections: Connections,
    /// Listeners and what runs beside them. None of them ends by itself.
    pub(super) tasks: JoinSet<()>,
    /// One task, which ends once the store has failed.
    timer: JoinSet<()>,
}

/// The connections of a broker: they end with it.
struct Connections(Arc<Server>);

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.end(ShutdownReason::Stop);
    }
}

/// The ports of the HTTP server, which brokers have one after the other.
pub(super) struct HttpPorts {
    pub(super) plain: StdListener,
    pub(super) tls: Option<StdListener>,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) socket: Option<Arc<Socket>>,
    pub(super) listeners: Vec<Listener>,
}

/// What the program has a broker told about the log.
#[derive(Default, Clone)]
pub(super) struct Logs {
    pub(super) recent: Option<RecentLines>,
    pub(super) filter: Option<LogFilter>,
    pub(super) target: Option<LogTarget>,
}

impl Logs {
    pub(super) fn tell(&self, broker: &Arc<Broker>) {
        self.recent.clone().into_iter().for_each(|lines| broker.show_log(lines));
        // There is one log.
        self.filter.clone().into_iter().for_each(|filter| drop(broker.log_filter().set(filter)));
        self.target.iter().for_each(|target| target.set(broker));
    }
}

impl HttpPorts {
    /// The ports for one broker: they stay when it ends.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn open(&self) -> io::Result<Vec<Port>> {
        let port = |listener: &StdListener, certificates| {
            let listener = TcpListener::from_std(listener.try_clone()?)?;
            Ok(Port { listener, certificates })
        };
        let plain = port(&self.plain, None);
        let tls = self.tls.iter().map(|tls| port(tls, self.certificates.clone()));
        std::iter::once(plain).chain(tls).collect()
    }
}

impl Serving {
    /// Has a broker serve by HTTP, and what happens by the clock happen. Who accepts its clients
    /// asks for [`Self::server`].
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn start(broker: Arc<Broker>, http: &HttpPorts, config: &Config) -> Result<Self, StartError> {
        let server = Server::new(Arc::clone(&broker));
        let mut tasks = JoinSet::new();
        let served = Served {
            broker: Arc::clone(&broker),
            listeners: http.listeners.clone(),
            allow_origins: config.management.cors_allow_origins.clone(),
            certificates: http.certificates.clone(),
        };
        let ports = http.open().map_err(|error| StartError::Store(StoreError::Io(error)))?;
        tasks.spawn(http::serve(ports, http.socket.clone(), served));
        let mut timer = JoinSet::new();
        timer.spawn(server::run_timer(Arc::clone(&server), config.data_dir.clone()));
        Ok(Self { broker, connections: Connections(server), tasks, timer })
    }

    /// Who takes its clients.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.connections.0
    }

    /// Waits until it cannot go on, because its store or a part of it has failed.
    pub(super) async fn failed(&mut self) {
        let (task, ended) = tokio::select! {
            biased;
            Some(ended) = self.timer.join_next() => ("the timer", ended),
            Some(ended) = self.tasks.join_next() => ("a listener or a task beside it", ended),
            // Both have run since the start.
            else => return,
        };
        let fault = match ended.map_err(JoinError::try_into_panic) {
            Err(Ok(panic)) => StoreError::panicked(task, &*panic),
            Ok(()) | Err(Err(_)) => StoreError::BrokerFault(format!("{task} has ended")),
        };
        // If it is the store that has failed, its own reason came first.
        self.broker.log().fail(fault);
    }

    /// Closes what listens, and tells all connections to end; whether they have within `wait`.
    pub(super) async fn end(&mut self, reason: ShutdownReason, wait: Duration) -> bool {
        self.timer.shutdown().await;
        self.tasks.shutdown().await;
        let Connections(server) = &self.connections;
        server.end(reason);
        server.ended(wait).await
    }

    /// Closes the store, after the last connection.
    ///
    /// # Errors
    /// The last changes could not be written, or it had failed.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let broker = Arc::clone(&self.broker);
        off_the_runtime(move || broker.shutdown()).await
    }
}

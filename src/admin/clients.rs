//! Connections and channels. Who a client is the broker knows; how it stands its session is asked.

use super::access::{Access, Requirement, Tag};
use super::value::{Arguments, Value, decoded};
use super::{Caller, Performed, Refusal, Row, Told, find};
use crate::broker::Broker;
use crate::broker::clients::{ChannelReport, Client, ClientReport, ClientStatus, Publishing};
use crate::broker::counted::TRAFFIC;
use crate::ids::{ConnectionId, Ticket};
use crate::statistics::{EVENTS, SamplesWanted, Trend};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What can be done with clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientOperation {
    /// All connections.
    ListConnections,
    /// All channels.
    ListChannels,
    /// A connection and its channels.
    DescribeConnection {
        /// The name of the connection.
        connection: String,
    },
    /// A connection is closed with 320 and a reason.
    CloseConnection {
        /// The name of the connection.
        connection: String,
        /// What its client is told.
        reason: String,
    },
    /// Connections are closed, those that have been there for longest first.
    CloseConnections {
        /// Only of this vhost.
        vhost: Option<String>,
        /// Only of this user.
        user: Option<String>,
        /// So many; none for all.
        limit: Option<u64>,
        /// What their clients are told.
        reason: String,
    },
}

/// A connection, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Its name: from where it comes, and to where.
    pub name: String,
    /// Its user.
    pub user: String,
    /// Its vhost.
    pub vhost: String,
    /// The address that it comes from.
    pub peer_host: String,
    /// The port that it comes from.
    pub peer_port: u16,
    /// The address that it came to.
    pub host: Option<String>,
    /// The port that it came to.
    pub port: Option<u16>,
    /// What it speaks.
    pub protocol: String,
    /// It speaks TLS.
    pub ssl: bool,
    /// The mechanism that its user logged in by.
    pub auth_mechanism: String,
    /// The name that the client gave it.
    pub user_provided_name: Option<String>,
    /// What the client says of itself.
    pub client_properties: Arguments,
    /// When it was let in, milliseconds since 1970.
    pub connected_at: u64,
    /// Seconds between heartbeats; 0 for none.
    pub timeout: u16,
    /// The largest frame, in bytes.
    pub frame_max: u32,
    /// Channels it may have.
    pub channel_max: u16,
    /// `running`; `flow` or `blocked` when it published and has to wait; none when it does not
    /// answer.
    pub state: Option<String>,
    /// Its channels.
    pub channels: Option<u64>,
    /// Bytes that came from it.
    pub recv_oct: Option<u64>,
    /// Bytes that went to it.
    pub send_oct: Option<u64>,
    /// Bytes that wait for it.
    pub send_pend: Option<u64>,
    /// How the bytes that came from it, and went to it, change.
    #[serde(skip)]
    pub traffic: [Trend; TRAFFIC],
}

/// A channel, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// The name of its connection, and its number.
    pub name: String,
    /// The name of its connection.
    pub connection: String,
    /// Its number.
    pub number: u16,
    /// Its user.
    pub user: String,
    /// Its vhost.
    pub vhost: String,
    /// `tx.select` was said.
    pub transactional: bool,
    /// `confirm.select` was said.
    pub confirm: bool,
    /// Its consumers.
    pub consumer_count: u64,
    /// Delivered and not settled.
    pub messages_unacknowledged: u64,
    /// Published and not confirmed.
    pub messages_unconfirmed: u64,
    /// Published and not committed.
    pub messages_uncommitted: u64,
    /// Settled and not committed.
    pub acks_uncommitted: u64,
    /// The window of consumers that come; 0 for none.
    pub prefetch_count: u16,
    /// The window that its consumers share; 0 for none.
    pub global_prefetch_count: u32,
    /// What happened to messages on it, in the order of [`crate::statistics::EVENT_NAMES`]; none if
    /// nothing has.
    #[serde(skip)]
    pub events: Option<[Trend; EVENTS]>,
    /// When any of that changed last, milliseconds since 1970.
    #[serde(skip)]
    pub changed_at_ms: Option<u64>,
}

/// A connection and its channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionDescription {
    /// The connection.
    pub connection: ConnectionRow,
    /// Its channels.
    pub channels: Vec<ChannelRow>,
}

impl ClientOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::CloseConnection { .. } | Self::CloseConnections { .. })
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        match self {
            // Those that the user sees.
            Self::ListConnections | Self::ListChannels => Requirement::Tag(Tag::Management),
            Self::DescribeConnection { connection } => Requirement::Connection(Tag::Monitoring, connection),
            Self::CloseConnection { connection, .. } => {
                Requirement::Connection(Tag::Administrator, connection)
            }
            Self::CloseConnections { .. } => Requirement::Tag(Tag::Administrator),
        }
    }

    /// Whether it tells what only sessions know.
    pub(super) fn asks_sessions(&self) -> bool {
        !self.is_change()
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: ClientOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let mut reports = caller.inquiry.as_ref().map(|inquiry| inquiry.take()).unwrap_or_default();
    let seen = || {
        let (mut all, only) = (broker.clients().list(), access.sees_only());
        all.retain(|client| only.is_none_or(|only| only == client.facts.user));
        all.into_iter()
    };
    let sampled = (broker.sampling().newest(), caller.samples);
    match operation {
        ClientOperation::ListConnections => {
            let rows = seen().map(move |client| {
                let report = reports.remove(&client.id);
                Row::Connection(Box::new(connection_row(&client, report.as_ref(), sampled)))
            });
            Ok(Performed::rows(rows))
        }
        ClientOperation::ListChannels => {
            let rows = seen().flat_map(move |client| {
                channel_rows(&client, &reports, sampled).into_iter().map(|row| Row::Channel(Box::new(row)))
            });
            Ok(Performed::rows(rows))
        }
        ClientOperation::DescribeConnection { connection } => {
            let client = find::connection(broker, &connection)?;
            let description = ConnectionDescription {
                connection: connection_row(&client, reports.get(&client.id), sampled),
                channels: channel_rows(&client, &reports, sampled),
            };
            Ok(Performed::told(Told::Connection(description), Ticket(0)))
        }
        ClientOperation::CloseConnection { connection, reason } => {
            find::connection(broker, &connection)?.close(&reason);
            Ok(Performed::done(Ticket(0)))
        }
        ClientOperation::CloseConnections { vhost, user, limit, reason } => {
            if let Some(vhost) = &vhost {
                find::vhost(broker, vhost)?;
            }
            let mut clients = broker.clients().list();
            let is_of =
                |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| name == wanted);
            clients.retain(|client| is_of(&client.facts.vhost, &vhost) && is_of(&client.facts.user, &user));
            let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
            let closed = clients.iter().take(limit).map(|client| client.close(&reason)).count();
            Ok(Performed::told(Told::Connections(closed as u64), Ticket(0)))
        }
    }
}

fn connection_row(
    client: &Client,
    report: Option<&ClientReport>,
    (newest, samples): (u32, SamplesWanted),
) -> ConnectionRow {
    let facts = &client.facts;
    let bytes = report.map_or_else(|| client.traffic(), |report| [report.received_bytes, report.sent_bytes]);
    let client_properties = decoded(&facts.properties);
    let user_provided_name = match client_properties.get("connection_name") {
        Some(Value::Text(name)) => Some(name.clone()),
        _ => None,
    };
    let state = report.map(|report| match report.standing {
        ClientStatus::Running => "running",
        ClientStatus::Flow => "flow",
        ClientStatus::Blocked => "blocked",
    });
    ConnectionRow {
        name: facts.name(),
        user: facts.user.clone(),
        vhost: facts.vhost.clone(),
        peer_host: facts.peer.ip().to_string(),
        peer_port: facts.peer.port(),
        host: facts.local.map(|local| local.ip().to_string()),
        port: facts.local.map(|local| local.port()),
        protocol: "AMQP 0-9-1".to_owned(),
        ssl: facts.tls,
        auth_mechanism: facts.mechanism.clone(),
        user_provided_name,
        client_properties,
        connected_at: facts.connected_at_unix_ms,
        timeout: facts.heartbeat_s,
        frame_max: facts.frame_max,
        channel_max: facts.channel_max,
        state: state.map(str::to_owned),
        channels: report.map(|report| report.channels.len() as u64),
        recv_oct: report.map(|report| report.received_bytes),
        send_oct: report.map(|report| report.sent_bytes),
        send_pend: report.map(|report| report.pending_bytes),
        traffic: client.traffic_history.trends(bytes, newest, samples.data),
    }
}

fn channel_rows(
    client: &Client,
    reports: &BTreeMap<ConnectionId, ClientReport>,
    (newest, samples): (u32, SamplesWanted),
) -> Vec<ChannelRow> {
    let connection = client.facts.name();
    let counted: BTreeMap<_, _> = client.channels().into_iter().collect();
    let events = |number: u16| {
        let channel = counted.get(&number)?;
        let counts = channel.counters.counts();
        (counts != [0; EVENTS]).then(|| channel.history.trends(counts, newest, samples.events))
    };
    let row = |channel: &ChannelReport| ChannelRow {
        name: format!("{connection} ({})", channel.number),
        connection: connection.clone(),
        number: channel.number,
        user: client.facts.user.clone(),
        vhost: client.facts.vhost.clone(),
        transactional: channel.publishing == Publishing::Transaction,
        confirm: channel.publishing == Publishing::Confirm,
        consumer_count: channel.consumers,
        messages_unacknowledged: channel.unacked,
        messages_unconfirmed: channel.unconfirmed,
        messages_uncommitted: channel.uncommitted,
        acks_uncommitted: channel.acks_uncommitted,
        prefetch_count: channel.prefetch,
        global_prefetch_count: channel.shared_prefetch,
        events: events(channel.number),
        changed_at_ms: counted.get(&channel.number).and_then(|channel| channel.history.changed_at_ms()),
    };
    reports.get(&client.id).map_or_else(Vec::new, |report| report.channels.iter().map(row).collect())
}

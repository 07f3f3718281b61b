//! What an operator may do with a running broker, and what of it its users may, and the one place
//! where it is done: the command line asks through a socket, other ways in ask the same.
//!
//! [`Operation`] is a closed list in groups, a file each; arguments and results are types of this
//! room, which may be written and read as JSON, so that the broker's own types stay free of it.
//! Each says what it takes of a user who asks for it ([`Requirement`]); an operator may do all
//! ([`Requester`]).
//!
//! [`perform_durably`] looks whether whoever asks may, does the operation, and answers once it is
//! on disk ([`Answer`]), or says why it is refused ([`Refusal`]): a way in needs nothing else. Its
//! steps are apart: what only sessions know is asked of them ([`inquiry_for`]), then [`perform`]
//! does the operation, and says which ticket has to be durable before its answer may be told. Lists
//! are iterators over references: a row is made when it is asked for.
//!
//! Every change is one log line: who, and what. Passwords are left out of them.
//!
//! No I/O; [`perform_durably`] alone waits and reads the clock, all else has time passed in.

mod access;
pub mod binding_key;
pub mod browse;
pub mod clients;
pub mod cluster;
mod columns;
pub mod damage;
pub mod definitions;
mod describe;
mod durable;
pub mod exchanges;
pub mod explain_route;
mod find;
pub mod jobs;
pub mod json_fault;
mod limits;
pub mod messages;
pub mod node;
pub mod parameters;
pub mod parked;
pub mod password;
pub mod permissions;
pub mod policies;
pub mod queues;
pub mod refusal;
mod secret;
pub mod selection;
mod short;
pub mod users;
pub mod value;
pub mod vhosts;

pub use self::access::{Requester, Requirement, Tag};
pub use self::columns::columns_of;
pub use self::durable::{perform_durably, perform_wanted, wait_for_leaving_vhosts};
pub use self::password::Password;
pub use self::refusal::{Refusal, RefusalKind};

use self::access::Access;
use self::browse::BrowseOperation;
use self::clients::ClientOperation;
use self::definitions::DefinitionsOperation;
use self::describe::{changed, describe};
use self::exchanges::ExchangeOperation;
use self::jobs::JobOperation;
use self::messages::MessageOperation;
use self::node::NodeOperation;
use self::parameters::ParameterOperation;
use self::parked::ParkedOperation;
use self::permissions::PermissionOperation;
use self::policies::PolicyOperation;
use self::queues::QueueOperation;
use self::users::UserOperation;
use self::vhosts::VHostOperation;
use crate::broker::Broker;
use crate::broker::clients::StatsRequest;
use crate::clock::Now;
use crate::cluster_status::ClusterStatus;
use crate::ids::Ticket;
use crate::statistics::SamplesWanted;
use crate::store::change::CopyParts;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tracing::info;

/// Bindings and consumers that a description has at most; lists have them all.
const DESCRIBED_MAX: usize = 1000;

/// Everything that can be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// About the broker as a whole.
    Node(NodeOperation),
    /// About users and their limits.
    Users(UserOperation),
    /// About what users may do.
    Permissions(PermissionOperation),
    /// About vhosts and their limits.
    #[serde(rename = "vhosts")]
    VHosts(VHostOperation),
    /// About policies.
    Policies(PolicyOperation),
    /// About global parameters.
    Parameters(ParameterOperation),
    /// About queues and their consumers.
    Queues(QueueOperation),
    /// About messages that died and have nowhere to go.
    Parked(ParkedOperation),
    /// About exchanges and bindings.
    Exchanges(ExchangeOperation),
    /// About messages on their way in and out.
    Messages(MessageOperation),
    /// About messages where they are.
    Browse(BrowseOperation),
    /// About jobs that move messages.
    Jobs(JobOperation),
    /// About connections and channels.
    Clients(ClientOperation),
    /// About everything that is declared, as one.
    Definitions(DefinitionsOperation),
}

/// Who asks, and when.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose permissions count.
    pub who: Requester,
    /// When the operation is performed.
    pub now: Now,
    /// What the sessions answered, where [`inquiry_for`] asked them.
    pub inquiry: Option<Arc<StatsRequest>>,
    /// Which samples are told beside counts.
    pub samples: SamplesWanted,
    /// Which rows of a list of queues are looked at; none if all are.
    pub rows: Option<RowFilter>,
}

/// Which rows of a list are made, by their names: it is asked of each, in their order.
#[derive(Clone)]
pub struct RowFilter(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowFilter")
    }
}

/// What came of an operation.
pub struct Performed {
    /// What is told.
    pub answer: Answer,
    /// It may be told once this is durable.
    pub ticket: Ticket,
}

/// What is told.
pub enum Answer {
    /// One thing.
    One(Box<Told>),
    /// Any number of things.
    Many(Rows),
    /// A copy of the data file, part by part; making a part may block.
    Copy(CopyParts),
}

/// The rows of a list, made one by one.
pub type Rows = Box<dyn Iterator<Item = Row> + Send>;

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is done.
    Done,
    /// It is done, and was not there before.
    Created,
    /// A user.
    User(users::UserRow),
    /// How the broker stands.
    Status(node::Status),
    /// How the nodes of a cluster stand.
    ClusterStatus(ClusterStatus),
    /// Everything that is declared.
    Definitions(definitions::Document),
    /// What an import came to.
    Imported(definitions::Imported),
    /// What an import would do.
    DefinitionsPreview(Box<definitions::DefinitionsPreview>),
    /// It is done, to so many messages.
    Messages(u64),
    /// It is done, to so many connections.
    Connections(u64),
    /// What came of moving parked messages.
    Requeued(parked::RequeueResult),
    /// What a policy would change.
    PolicyPreview(policies::PolicyPreview),
    /// Where a message would go.
    Explained(explain_route::ExplainedRoute),
    /// Whether a message reached a queue.
    Routed(bool),
    /// Messages of a queue, where they are.
    MessagePage(browse::MessagePage),
    /// One of them.
    Message(Box<browse::ShownMessage>),
    /// A job.
    Job(jobs::JobRow),
    /// Messages that were taken from a queue.
    Fetched(Vec<messages::FetchedMessage>),
    /// Lines of the log.
    Log(Vec<node::LogRow>),
    /// What there is, in numbers.
    Overview(Box<node::Overview>),
    /// What the process uses.
    Usage(Box<node::Usage>),
    /// A queue and all that belongs to it.
    Queue(Box<queues::QueueDescription>),
    /// An exchange and what is bound to it.
    Exchange(exchanges::ExchangeDescription),
    /// A connection and its channels.
    Connection(clients::ConnectionDescription),
}

/// One row of a list. Its fields have the names of RabbitMQ's columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// A user.
    User(users::UserRow),
    /// A user as definitions have it.
    UserEntry(Box<definitions::UserEntry>),
    /// The limits of a user.
    UserLimits(users::UserLimitsRow),
    /// What a user may do.
    Permission(permissions::PermissionRow),
    /// Which keys a user may use.
    TopicPermission(permissions::TopicPermissionRow),
    /// A vhost.
    VHost(Box<vhosts::VHostRow>),
    /// The limits of a vhost.
    VHostLimits(vhosts::VHostLimitsRow),
    /// A policy.
    Policy(policies::PolicyRow),
    /// A global parameter.
    GlobalParameter(parameters::GlobalParameterRow),
    /// A queue.
    Queue(Box<queues::QueueRow>),
    /// A consumer.
    Consumer(queues::ConsumerRow),
    /// A parked message.
    Parked(parked::ParkedRow),
    /// An exchange.
    Exchange(exchanges::ExchangeRow),
    /// A binding.
    Binding(exchanges::BindingRow),
    /// A job.
    Job(jobs::JobRow),
    /// A connection.
    Connection(Box<clients::ConnectionRow>),
    /// A channel.
    Channel(Box<clients::ChannelRow>),
    /// Messages that are damaged.
    Damaged(damage::DamagedRow),
}

impl Performed {
    /// Something is done, and on disk with `ticket`.
    fn done(ticket: Ticket) -> Self {
        Self::told(Told::Done, ticket)
    }

    /// Something is there, on disk with `ticket`, whether it was before or not.
    fn put(is_new: bool, ticket: Ticket) -> Self {
        Self::told(if is_new { Told::Created } else { Told::Done }, ticket)
    }

    fn told(told: Told, ticket: Ticket) -> Self {
        Self { answer: Answer::One(Box::new(told)), ticket }
    }

    fn rows(rows: impl Iterator<Item = Row> + Send + 'static) -> Self {
        Self { answer: Answer::Many(Box::new(rows)), ticket: Ticket(0) }
    }
}

impl Operation {
    /// What it takes of a user.
    #[must_use]
    pub fn requirement(&self) -> Requirement<'_> {
        match self {
            Self::Node(operation) => operation.requirement(),
            Self::Users(operation) => operation.requirement(),
            Self::Permissions(_) => PermissionOperation::requirement(),
            Self::VHosts(operation) => operation.requirement(),
            Self::Policies(operation) => operation.requirement(),
            Self::Parameters(_) => ParameterOperation::requirement(),
            Self::Queues(operation) => operation.requirement(),
            Self::Parked(operation) => operation.requirement(),
            Self::Exchanges(operation) => operation.requirement(),
            Self::Messages(operation) => operation.requirement(),
            Self::Browse(operation) => operation.requirement(),
            Self::Jobs(operation) => operation.requirement(),
            Self::Clients(operation) => operation.requirement(),
            Self::Definitions(_) => DefinitionsOperation::requirement(),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Node(operation) => operation.is_change(),
            Self::Exchanges(operation) => operation.is_change(),
            Self::Messages(operation) => operation.is_change(),
            Self::Browse(operation) => operation.is_change(),
            Self::Jobs(operation) => operation.is_change(),
            Self::Users(operation) => operation.is_change(),
            Self::Permissions(operation) => operation.is_change(),
            Self::VHosts(operation) => operation.is_change(),
            Self::Policies(operation) => operation.is_change(),
            Self::Parameters(operation) => operation.is_change(),
            Self::Queues(operation) => operation.is_change(),
            Self::Parked(operation) => operation.is_change(),
            Self::Clients(operation) => operation.is_change(),
            Self::Definitions(operation) => operation.is_change(),
        }
    }
}

/// What has to be waited for before an operation can be performed: the answers of the sessions, for
/// those that tell of them. None for what is going to be refused.
#[must_use]
pub fn inquiry_for(broker: &Broker, operation: &Operation, who: &Requester) -> Option<Arc<StatsRequest>> {
    let (asks, held_of) = match operation {
        Operation::Clients(operation) => (operation.asks_sessions(), None),
        Operation::Browse(operation) => {
            let held_of = operation.held_of(broker);
            (held_of.is_some(), held_of)
        }
        _ => return None,
    };
    let may = || Access::checked(broker, who, operation.requirement()).is_ok();
    (asks && may()).then(|| broker.clients().inquire(held_of))
}

/// Whether there is room on the disk and in memory for what an operation sets that is in no vhost.
/// What is declared is looked at where that is done.
fn check_room(broker: &Broker, operation: &Operation) -> Result<(), Refusal> {
    use self::{ParameterOperation as G, PermissionOperation as R, PolicyOperation as P};
    use self::{UserOperation as U, VHostOperation as V};
    let sets = matches!(
        operation,
        Operation::Users(
            U::AddUser { .. } | U::AddHashedUser { .. } | U::PutUser { .. } | U::SetUserTags { .. }
        ) | Operation::Permissions(R::SetPermissions(_) | R::SetTopicPermissions(_))
            | Operation::VHosts(V::AddVhost { .. } | V::UpdateVhostMetadata { .. })
            | Operation::Policies(P::SetPolicy(_) | P::SetOperatorPolicy(_))
            | Operation::Parameters(G::SetGlobalParameter { .. })
    );
    if !sets {
        return Ok(());
    }
    let bytes = || serde_json::to_vec(operation).map_or(usize::MAX / 2, |text| text.len());
    broker.admit(bytes).map_err(|what| Refusal::new(RefusalKind::Unavailable, what.to_string()))
}

/// Performs an operation, if whoever asks may.
///
/// # Errors
/// Why it is refused; nothing has changed then.
pub fn perform(broker: &Arc<Broker>, operation: Operation, caller: &Caller) -> Result<Performed, Refusal> {
    let by = caller.who.log_name();
    let access = Access::checked(broker, &caller.who, operation.requirement())
        .inspect_err(|refusal| info!(by, "refused: {}: {refusal}", describe(&operation)))?;
    let change = operation.is_change().then(|| describe(&operation));
    let performed = check_room(broker, &operation).and_then(|()| match operation {
        Operation::Node(operation) => node::perform(broker, &operation, caller, &access),
        Operation::Users(operation) => users::perform(broker, operation, &access),
        Operation::Permissions(operation) => permissions::perform(broker, operation),
        Operation::VHosts(operation) => vhosts::perform(broker, operation, caller, &access),
        Operation::Policies(operation) => policies::perform(broker, operation, caller),
        Operation::Parameters(operation) => parameters::perform(broker, operation),
        Operation::Queues(operation) => queues::perform(broker, operation, caller, &access),
        Operation::Parked(operation) => parked::perform(broker, operation, caller, &access),
        Operation::Exchanges(operation) => exchanges::perform(broker, operation, caller, &access),
        Operation::Messages(operation) => messages::perform(broker, operation, caller, &access),
        Operation::Browse(operation) => browse::perform(broker, operation, caller),
        Operation::Jobs(operation) => jobs::perform(broker, operation, caller, &access),
        Operation::Clients(operation) => clients::perform(broker, operation, caller, &access),
        Operation::Definitions(operation) => definitions::perform(broker, operation, caller),
    });
    if let Some(change) = change {
        match &performed {
            Ok(performed) => info!(by, "{}", changed(&change, &performed.answer)),
            Err(refusal) => info!(by, "refused: {change}: {refusal}"),
        }
    }
    performed
}

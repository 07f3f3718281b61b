//! What can be asked of a node of a cluster that does not lead, and so has no broker.

use super::node::NodeOperation;
use super::{Operation, Refusal, RefusalKind, Told};
use crate::cluster_status::ClusterStatus;

/// Performs an operation for an operator of this node; `status` is how the cluster stands, and
/// `why_not` says that this node does not lead.
///
/// # Errors
/// It takes a broker.
pub fn perform_without_broker(
    operation: &Operation,
    status: ClusterStatus,
    why_not: String,
) -> Result<Told, Refusal> {
    match operation {
        Operation::Node(NodeOperation::Ping) => Ok(Told::Done),
        Operation::Node(NodeOperation::ClusterStatus) => Ok(Told::ClusterStatus(status)),
        _ => Err(Refusal::new(RefusalKind::Unavailable, why_not)),
    }
}

//! What a node of a cluster answers while it does not lead: whether it is well, how the cluster
//! stands, and to operators what [`crate::admin::cluster`] says. It has no users, so everything
//! else is refused with 503.

use super::answer::{Fault, json_of};
use super::body::{self, RequestBody};
use super::definitions::VALUES_MAX;
use super::operations::refused;
use super::router::{ok, text_answer, unavailable};
use super::state::Peer;
use super::{Port, Socket, prometheus, serve_with};
use crate::admin::Operation;
use crate::admin::cluster::perform_without_broker;
use crate::admin::json_fault::in_words;
use crate::cluster_status::{AskedStatus, ClusterStatus};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// An operation that is asked for has no more bytes: none of those that are performed has any
/// argument.
const OPERATION_BYTES_MAX: usize = 64 * 1024;

/// How long requests may still take when another server takes over: as long as it takes to ask the
/// leader how the cluster stands.
const REST: Duration = Duration::from_secs(1);

/// What all requests share.
struct Following {
    /// Tells how the cluster stands.
    status: AskedStatus,
    /// Room for the bodies of requests.
    bodies: Arc<Semaphore>,
}

/// Serves on all ports and on the operators' socket, on a thread of its own, until the future is
/// dropped.
pub async fn serve_following(ports: Vec<Port>, socket: Option<Arc<Socket>>, status: AskedStatus) {
    let following = Arc::new(Following { status, bodies: body::room() });
    serve_with(ports, socket, move || router(following), REST).await;
}

fn router(following: Arc<Following>) -> Router {
    Router::new()
        .route("/livez", get(ok_now))
        .route("/healthz", get(leads_not))
        .route("/readyz", get(leads_not))
        .route("/metrics", get(metrics))
        .route("/api/operations", post(operate))
        .fallback(leads_not)
        .with_state(following)
}

/// Whoever gets here is answered, which is all that is asked.
async fn ok_now() -> Response {
    ok()
}

async fn leads_not(State(following): State<Arc<Following>>) -> Response {
    unavailable(&why_not(&(following.status)().await))
}

/// Why this node does not do what it is asked for.
fn why_not(status: &ClusterStatus) -> String {
    let node = &status.node;
    match (&status.leader, &status.waits_for) {
        (Some(leader), _) => format!("node '{node}' does not lead the cluster: node '{leader}' does"),
        (None, Some(why)) => format!("node '{node}' belongs to no cluster yet: {why}"),
        (None, None) => format!("no node leads the cluster, as far as node '{node}' knows"),
    }
}

async fn metrics(State(following): State<Arc<Following>>) -> Response {
    let text = prometheus::of_cluster(&(following.status)().await);
    text_answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

async fn operate(State(following): State<Arc<Following>>, request: Request) -> Response {
    let is_operator = matches!(request.extensions().get::<Peer>(), Some(Peer::Operator(_)));
    let body = body::read(request.into_body(), OPERATION_BYTES_MAX, &following.bodies).await;
    let status = (following.status)().await;
    let why_not = why_not(&status);
    if !is_operator {
        return unavailable(&why_not);
    }
    match asked_for(body).await.and_then(|operation| Ok(perform_without_broker(&operation, status, why_not)?))
    {
        Ok(told) => json_of(StatusCode::OK, &json!(told)),
        Err(fault) => refused(fault),
    }
}

async fn asked_for(body: Result<RequestBody, Fault>) -> Result<Operation, Fault> {
    let operation = body?.parse::<Operation>(VALUES_MAX).await?;
    operation.map_err(|error| Fault::bad_request(format!("not an operation: {}", in_words(&error))))
}

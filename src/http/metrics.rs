//! The pages of metrics: of the broker as a whole, of each object, and of families that are asked
//! for. Nobody has to log in for them, as in RabbitMQ.

use super::answer::Fault;
use super::exposition::{Page, Pieces};
use super::families::{self, Wanted};
use super::prometheus::{self, AGGREGATED, Names};
use super::query::Query;
use super::state::State;
use crate::admin::parameters::cluster_name;
use crate::broker::clients::ClientReport;
use crate::broker::{Broker, Gauges};
use crate::clock;
use crate::ids::ConnectionId;
use crate::machine;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// What a page is, which each answer says.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long sessions may take to say how their channels stand; what is missing then is left out.
const INQUIRY_WAIT: Duration = Duration::from_secs(2);

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/metrics", get(totals))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
}

async fn totals(Shared(state): Shared<Arc<State>>) -> Response {
    answer(state, AGGREGATED, None).await
}

async fn per_object(Shared(state): Shared<Arc<State>>) -> Response {
    let wanted = Wanted { families: Vec::new(), vhosts: Vec::new(), prefix: "rabbitmq_" };
    answer(state, "per-object", Some(wanted)).await
}

async fn detailed(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let all = |name: &str| query.all(name).map(str::to_owned).collect::<Vec<_>>();
    let families = all("family");
    let wanted = Wanted { families, vhosts: all("vhost"), prefix: "rabbitmq_detailed_" };
    // What is not asked for is not told.
    let wanted = Some(wanted).filter(|wanted| !wanted.families.is_empty());
    answer(state, "detailed", wanted).await
}

/// A page is made aside, and one at a time: it locks each queue.
async fn answer(state: Arc<State>, endpoint: &'static str, wanted: Option<Wanted>) -> Response {
    // Nobody closes it.
    let Ok(turn) = Arc::clone(&state.metrics).acquire_owned().await else {
        return Fault::unavailable("no metrics").into_response();
    };
    let asks = wanted.as_ref().is_some_and(Wanted::asks_sessions);
    let reports = if asks { inquire(&state.broker).await } else { BTreeMap::new() };
    let made = spawn_blocking(move || make(&state, endpoint, wanted.as_ref(), &reports)).await;
    match made {
        Ok(parts) => ([(CONTENT_TYPE, TEXT)], Body::new(Page { parts, _turn: turn })).into_response(),
        Err(_panic) => Fault::unavailable("the page failed by a fault of the broker").into_response(),
    }
}

async fn inquire(broker: &Broker) -> BTreeMap<ConnectionId, ClientReport> {
    let inquiry = broker.clients().inquire(None);
    // What has come by then is shown.
    let _all = timeout(INQUIRY_WAIT, poll_fn(|context| inquiry.poll(context))).await;
    inquiry.take()
}

fn make(
    state: &State,
    endpoint: &'static str,
    wanted: Option<&Wanted>,
    reports: &BTreeMap<ConnectionId, ClientReport>,
) -> VecDeque<Box<dyn Pieces>> {
    let (broker, now) = (&state.broker, state.broker.clock().now());
    let mut parts = VecDeque::new();
    let cluster = cluster_name(broker);
    let names = Names { node: &state.node, cluster: &cluster };
    let mut head = String::new();
    match endpoint {
        "detailed" => prometheus::identity(names, endpoint, &mut head),
        AGGREGATED => {
            let (gauges, totals) = families::totals(broker, now);
            head = whole(state, names, endpoint, &gauges);
            head.push_str(&totals);
            if broker.is_of_cluster() {
                head.push_str(&prometheus::of_cluster(&broker.cluster_status()));
            }
        }
        _ => head = whole(state, names, endpoint, &broker.gauges()),
    }
    if let Some(wanted) = wanted {
        parts.extend(wanted.collect(broker, reports, now));
    }
    parts.push_front(Box::new(head) as Box<dyn Pieces>);
    parts
}

/// What is told of the broker as a whole.
fn whole(state: &State, names: Names<'_>, endpoint: &'static str, gauges: &Gauges) -> String {
    let broker = &state.broker;
    let alarms = broker.alarms();
    let shortage = alarms.shortage(broker.health());
    let up_ms = clock::mono_ms().saturating_sub(broker.started_at().mono_ms);
    let node = prometheus::Node {
        names,
        endpoint,
        up_s: up_ms / 1000,
        alarms,
        shortage,
        resident_bytes: machine::resident_bytes(),
        descriptors: (machine::descriptors_open(), machine::descriptors_max()),
        connections_max: broker.limits().get().connections_max,
        attempts: broker.attempts(),
        sample_bytes: broker.sampling().bytes(),
        io: broker.io(),
    };
    prometheus::exposition(broker.metrics(), gauges, &node)
}

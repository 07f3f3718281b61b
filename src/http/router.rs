//! The paths that ask nobody who he is, `/healthz`, `/metrics` and the web pages, beside those of
//! the API.

use super::answer::Fault;
use super::prometheus;
use super::routes;
use super::state::State;
use super::ui;
use crate::broker::{Broker, Shortage};
use crate::clock;
use crate::machine;
use crate::store::change::Health;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// All paths there are.
pub(super) fn all(state: &Arc<State>) -> Router {
    let open = Router::new().route("/healthz", get(health)).route("/metrics", get(metrics));
    let open = open.method_not_allowed_fallback(not_allowed).with_state(Arc::clone(state));
    routes::router(state).merge(open).merge(ui::router())
}

pub(super) async fn not_allowed() -> Response {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed").into_response()
}

async fn health(Shared(state): Shared<Arc<State>>) -> Response {
    healthz(state.broker.health(), state.broker.alarms().shortage(Health::Good))
}

/// It locks each queue once, so it is made aside, and one at a time.
async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    // Nobody closes it.
    let turn = Arc::clone(&state.metrics).acquire_owned().await;
    let page = spawn_blocking(move || {
        let _turn = turn;
        page(&state.broker)
    });
    match page.await {
        Ok(page) => text_answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
        Err(_panic) => Fault::unavailable("the page failed by a fault of the broker").into_response(),
    }
}

/// Whether publishers are served, for load balancers and container platforms.
fn healthz(health: Health, shortage: Shortage) -> Response {
    let (status, text) = match health {
        Health::Good if shortage.memory => {
            (StatusCode::SERVICE_UNAVAILABLE, "low on memory: publishers are blocked")
        }
        Health::Good if shortage.disk => {
            (StatusCode::SERVICE_UNAVAILABLE, "low on disk: publishers are blocked")
        }
        Health::Good => (StatusCode::OK, "ok"),
        Health::Full => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full: publishers are blocked"),
        Health::Failed => (StatusCode::SERVICE_UNAVAILABLE, "the store has failed"),
    };
    text_answer(status, "text/plain; charset=utf-8", text.into())
}

fn page(broker: &Broker) -> String {
    let alarms = broker.alarms();
    let shortage = alarms.shortage(broker.health());
    let up_ms = clock::mono_ms().saturating_sub(broker.started_at().mono_ms);
    let node = prometheus::Node {
        host: &machine::hostname(),
        up_s: up_ms / 1000,
        alarms,
        shortage,
        resident_bytes: machine::resident_bytes(),
        descriptors: (machine::descriptors_open(), machine::descriptors_max()),
    };
    prometheus::exposition(broker.metrics(), &broker.gauges(), &node)
}

fn text_answer(status: StatusCode, kind: &'static str, text: String) -> Response {
    (status, [(CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_that_takes_messages_is_healthy() {
        let enough = Shortage::default();
        assert_eq!(healthz(Health::Good, enough).status(), StatusCode::OK);
        for health in [Health::Full, Health::Failed] {
            assert_eq!(healthz(health, enough).status(), StatusCode::SERVICE_UNAVAILABLE, "{health:?}");
        }
        for shortage in [Shortage { memory: true, ..enough }, Shortage { disk: true, ..enough }] {
            let answer = healthz(Health::Good, shortage);
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{shortage:?}");
        }
    }
}

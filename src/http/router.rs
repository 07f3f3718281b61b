//! The paths that ask nobody who he is, `/healthz`, `/livez`, `/readyz`, `/metrics` and the web
//! pages, beside those of the API.

use super::answer::Fault;
use super::metrics;
use super::routes;
use super::state::State;
use super::ui;
use crate::broker::Shortage;
use crate::store::change::Health;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// All paths there are.
pub(super) fn all(state: &Arc<State>) -> Router {
    let checks = Router::new().route("/healthz", get(health));
    let checks = checks.route("/livez", get(lives)).route("/readyz", get(is_ready));
    let open = checks.merge(metrics::router());
    let open = open.method_not_allowed_fallback(not_allowed).with_state(Arc::clone(state));
    routes::router(state).merge(open).merge(ui::router())
}

pub(super) async fn not_allowed() -> Response {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed").into_response()
}

async fn health(Shared(state): Shared<Arc<State>>) -> Response {
    healthz(state.broker.health(), state.broker.alarms().shortage(Health::Good))
}

/// Whether the process is to be left alone: it is started again only where that helps.
async fn lives(Shared(state): Shared<Arc<State>>) -> Response {
    match state.broker.health() {
        Health::Good | Health::Full => ok(),
        Health::Failed => unavailable("the store has failed"),
    }
}

/// Whether clients are served: consumers may be, where publishers have to wait.
async fn is_ready(Shared(state): Shared<Arc<State>>) -> Response {
    match state.broker.health() {
        Health::Good => ok(),
        Health::Full => unavailable("the disk is full"),
        Health::Failed => unavailable("the store has failed"),
    }
}

pub(super) fn ok() -> Response {
    text_answer(StatusCode::OK, "text/plain; charset=utf-8", "ok".into())
}

pub(super) fn unavailable(why: &str) -> Response {
    text_answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", why.into())
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

pub(super) fn text_answer(status: StatusCode, kind: &'static str, text: String) -> Response {
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

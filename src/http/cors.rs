//! Pages of other origins that may use the API, if the operator names their origins (RabbitMQ:
//! management.md, CORS).

use super::state::State;
use axum::extract::{Request, State as Shared};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Methods that pages may use.
const METHODS: &str = "HEAD, GET, PUT, DELETE, POST, OPTIONS";

/// How long a browser need not ask again, in seconds (RabbitMQ's default).
const MAX_AGE_S: &str = "1800";

/// Answers, and says whether the page of that origin may see it.
pub(super) async fn allow(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let origin = origin.filter(|origin| is_allowed(&state.allow_origins, origin));
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let is_preflight = *request.method() == Method::OPTIONS;
    let mut answer = next.run(request).await;
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if is_preflight {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            if let Some(asked) = asked {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
            }
        }
    }
    answer
}

fn is_allowed(allowed: &[String], origin: &HeaderValue) -> bool {
    allowed.iter().any(|one| one == "*" || origin == one.as_str())
}

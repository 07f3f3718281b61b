//! The table of all paths: what is answered there, by whom, and what it is for. Each subject has
//! its rows; the router and the description of the API are both made of them.

use super::answer::{Fault, allowed, finish};
use super::route::{Methods, Route};
use super::state::State;
use super::{
    bindings, browse, connections, cors, definitions, exchanges, features, health, jobs, login, messages,
    nodes, openapi, operations, overview, permissions, policies, queues, stream, users, vhosts,
};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

/// All rows.
pub(super) fn all() -> Vec<Route> {
    let subjects = [
        login::routes(),
        overview::routes(),
        nodes::routes(),
        features::routes(),
        vhosts::routes(),
        users::routes(),
        permissions::routes(),
        policies::routes(),
        exchanges::routes(),
        queues::routes(),
        bindings::routes(),
        messages::routes(),
        browse::routes(),
        jobs::routes(),
        connections::routes(),
        definitions::routes(),
        health::routes(),
        stream::routes(),
        operations::routes(),
        openapi::routes(),
    ];
    subjects.into_iter().flatten().collect()
}

/// The router of the API.
pub(super) fn router(state: &Arc<State>) -> Router {
    let mut paths: BTreeMap<&'static str, (Methods, Vec<&'static str>)> = BTreeMap::new();
    for Route { method, path, add, .. } in all() {
        let (routes, methods) = paths.remove(path).unwrap_or_default();
        let methods = [methods, vec![method]].concat();
        paths.insert(path, (add(routes), methods));
    }
    let mut router = Router::new();
    for (path, (routes, methods)) in paths {
        let methods = allow(&methods);
        let other = move |request: Request| {
            let is_options = request.method() == "OPTIONS";
            let status = if is_options { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
            ready(allowed(status, &methods))
        };
        router = router.route(path, routes.fallback(other));
    }
    let cors = middleware::from_fn_with_state(Arc::clone(state), cors::allow);
    let router = router.fallback(not_found).layer(middleware::map_response(finished)).layer(cors);
    router.with_state(Arc::clone(state))
}

/// Methods as RabbitMQ lists them.
fn allow(methods: &[&str]) -> String {
    let mut listed = Vec::new();
    if methods.contains(&"GET") {
        listed.extend(["HEAD", "GET"]);
    }
    listed.extend(["PUT", "DELETE", "POST"].into_iter().filter(|method| methods.contains(method)));
    listed.push("OPTIONS");
    listed.join(", ")
}

async fn not_found() -> Response {
    Fault::no_object().into_response()
}

async fn finished(mut answer: Response) -> Response {
    finish(&mut answer);
    answer
}

//! One row of the table of paths.

use super::state::State;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use std::sync::Arc;

/// One row: a method of a path.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What it does, in a few words.
    pub(super) summary: &'static str,
    /// Adds it to those of its path.
    pub(super) add: Box<dyn FnOnce(Methods) -> Methods + Send>,
}

/// All methods of a path.
pub(super) type Methods = MethodRouter<Arc<State>>;

/// Rows of a subject.
fn route<H, T>(
    (method, filter): (&'static str, MethodFilter),
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Arc<State>>,
    T: 'static,
{
    Route { method, path, summary, add: Box::new(move |routes| routes.on(filter, handler)) }
}

pub(super) fn get<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    route(("GET", MethodFilter::GET), path, summary, handler)
}

pub(super) fn put<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    route(("PUT", MethodFilter::PUT), path, summary, handler)
}

pub(super) fn post<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    route(("POST", MethodFilter::POST), path, summary, handler)
}

pub(super) fn delete<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    route(("DELETE", MethodFilter::DELETE), path, summary, handler)
}

//! One row of the table of paths.

use super::call::Call;
use super::state::State;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use std::pin::Pin;
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

/// A method by its name.
type Named = (&'static str, MethodFilter);

pub(super) const GET: Named = ("GET", MethodFilter::GET);
pub(super) const PUT: Named = ("PUT", MethodFilter::PUT);
pub(super) const POST: Named = ("POST", MethodFilter::POST);
pub(super) const DELETE: Named = ("DELETE", MethodFilter::DELETE);

/// What answers a call: one type for all, so that the router's code is compiled once, and not for
/// each path.
pub(super) type Answering = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A row whose handler takes of the request what it likes; without a [`Call`] it has to ask itself
/// who that is.
pub(super) fn of_request<H, T>(
    (method, filter): Named,
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

/// A handler of calls.
pub(super) trait Answers {
    fn boxed(self) -> Answering;
}

impl<H, A> Answers for H
where
    H: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output: IntoResponse> + Send + 'static,
{
    fn boxed(self) -> Answering {
        Arc::new(move |call| {
            let answer = self(call);
            Box::pin(async move { answer.await.into_response() })
        })
    }
}

pub(super) fn get(path: &'static str, summary: &'static str, handler: impl Answers) -> Route {
    answered(GET, path, summary, handler.boxed())
}

pub(super) fn put(path: &'static str, summary: &'static str, handler: impl Answers) -> Route {
    answered(PUT, path, summary, handler.boxed())
}

pub(super) fn post(path: &'static str, summary: &'static str, handler: impl Answers) -> Route {
    answered(POST, path, summary, handler.boxed())
}

pub(super) fn delete(path: &'static str, summary: &'static str, handler: impl Answers) -> Route {
    answered(DELETE, path, summary, handler.boxed())
}

/// A row for those who are let in.
fn answered(method: Named, path: &'static str, summary: &'static str, answering: Answering) -> Route {
    of_request(method, path, summary, move |call: Call| answering(call))
}

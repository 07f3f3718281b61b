//! A request of the API as those who answer it get it: who asks, what the path names, what the
//! query and the body say. Whoever is not let in does not get that far.

use super::answer::{self, Fault};
use super::body::{self, BODY_BYTES_MAX, RequestBody};
use super::columns::Columns;
use super::login::{self, Login};
use super::query::Query;
use super::state::{Peer, State};
use super::statistics;
use crate::admin::vhosts::VHostOperation;
use crate::admin::{
    Answer, Operation, Requester, Row, RowFilter, Rows, Told, perform_wanted, wait_for_leaving_vhosts,
};
use crate::config::control::REQUEST_BYTES_MAX;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::ACCEPT_ENCODING;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What every answer may look at of a request.
pub(super) struct Call {
    pub(super) state: Arc<State>,
    /// Who asks.
    pub(super) who: Requester,
    /// The name of the user who asks; of an operator how the log calls it.
    pub(super) user: String,
    /// Its tags.
    pub(super) tags: Vec<String>,
    pub(super) method: Method,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: RequestBody,
    /// The parts of the path that are names.
    names: Vec<(String, String)>,
    /// Which rows of a list of queues are made; none if all are.
    pub(super) rows: Option<RowFilter>,
}

/// Who has it may make an answer of many MiB.
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<State>> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().copied();
        let login = match login::check(state, &parts.headers, peer).await {
            Ok(login) => login,
            Err(refused) => {
                body::pass_over(body).await;
                return Err(refused);
            }
        };
        let is_change = !matches!(parts.method, Method::GET | Method::HEAD);
        if login.by_cookie && is_change {
            login::check_guard(&parts.headers).map_err(IntoResponse::into_response)?;
        }
        let names = names(&mut parts, state).await.map_err(IntoResponse::into_response)?;
        let (max, room) = match login.who {
            Requester::User(_) => (BODY_BYTES_MAX, &state.bodies),
            Requester::Operator(_) => (REQUEST_BYTES_MAX, &state.operator_bodies),
        };
        let body = body::read(body, max, room).await.map_err(IntoResponse::into_response)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let state = Arc::clone(state);
        let Login { who, name: user, tags, by_cookie: _ } = login;
        let Parts { method, headers, .. } = parts;
        Ok(Self { state, who, user, tags, method, query, headers, body, names, rows: None })
    }
}

/// The names in the path.
async fn names(parts: &mut Parts, state: &Arc<State>) -> Result<Vec<(String, String)>, Fault> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_error| Fault::bad_request("the path is not UTF-8"))?;
    let names: Vec<_> = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if names.iter().any(|(_, value)| value.contains('\0')) {
        return Err(Fault::bad_request("a name in the path has a NUL"));
    }
    Ok(names)
}

impl Call {
    /// What the path has in place of `{name}`.
    pub(super) fn name(&self, name: &str) -> String {
        let found = self.names.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The vhost that the path names.
    pub(super) fn vhost(&self) -> String {
        self.name("vhost")
    }

    /// The body, which is an object.
    ///
    /// # Errors
    /// It is none.
    pub(super) async fn object(&self) -> Result<Map<String, Value>, Fault> {
        self.body.object().await
    }

    /// Whether who asks sees what concerns the whole broker.
    pub(super) fn monitors(&self) -> bool {
        self.tags.iter().any(|tag| tag == "administrator" || tag == "monitoring")
    }

    /// Whether who asks may do everything.
    pub(super) fn administers(&self) -> bool {
        self.tags.iter().any(|tag| tag == "administrator")
    }

    /// Does an operation for who asks; what it changes is on disk then.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, Fault> {
        self.perform_holding(operation, ()).await.map(|(answer, ())| answer)
    }

    /// As [`Self::perform`]; what is held is given back once the operation has been performed, also
    /// if the client goes away meanwhile.
    async fn perform_holding<H: Send + 'static>(
        &self,
        operation: Operation,
        held: H,
    ) -> Result<(Answer, H), Fault> {
        wait_for_leaving_vhosts(&self.state.broker, &operation).await;
        // Operators do not wait for others. Nobody closes it.
        let turn = match self.who {
            Requester::User(_) => Some(Arc::clone(&self.state.work).acquire_owned().await),
            Requester::Operator(_) => None,
        };
        let (broker, requester) = (Arc::clone(&self.state.broker), self.who.clone());
        let wanted = (statistics::wanted(&self.query), self.rows.clone());
        let performing = tokio::spawn(async move {
            let answer = perform_wanted(&broker, operation, requester, wanted).await;
            drop(turn);
            (answer, held)
        });
        // It has no panic of its own: see `perform_wanted`.
        let (answer, held) = performing.await.map_err(|_panic| Fault::unavailable("the operation failed"))?;
        Ok((answer?, held))
    }

    /// As [`Self::told`], of what may be many MiB, in a turn that lasts until it is dropped.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn told_in_turn(&self, operation: Operation) -> Result<(Told, Turn), Fault> {
        // Nobody closes it.
        let turn = Turn { _permit: Arc::clone(&self.state.large).acquire_owned().await.ok() };
        let (answer, turn) = self.perform_holding(operation, turn).await?;
        let told = match answer {
            Answer::One(told) => *told,
            // No operation answers otherwise than it says.
            Answer::Many(_) | Answer::Copy(_) => Told::Done,
        };
        Ok((told, turn))
    }

    /// As [`Self::perform`], for one thing that is told.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn told(&self, operation: Operation) -> Result<Told, Fault> {
        match self.perform(operation).await? {
            Answer::One(told) => Ok(*told),
            // No operation answers otherwise than it says.
            Answer::Many(_) | Answer::Copy(_) => Ok(Told::Done),
        }
    }

    /// As [`Self::perform`], for a list.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn rows(&self, operation: Operation) -> Result<Rows, Fault> {
        match self.perform(operation).await? {
            Answer::Many(rows) => Ok(rows),
            Answer::One(_) | Answer::Copy(_) => Ok(Box::new(std::iter::empty())),
        }
    }

    /// As [`Self::rows`], of each of some vhosts in turn; one that is gone has none.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn rows_of_all(
        &self,
        vhosts: Vec<String>,
        operation: impl Fn(String) -> Operation,
    ) -> Result<Rows, Fault> {
        let mut all: Rows = Box::new(std::iter::empty());
        for vhost in vhosts {
            match self.rows(operation(vhost)).await {
                Ok(rows) => all = Box::new(all.chain(rows)),
                Err(fault) if fault.is_missing() => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(all)
    }

    /// The vhosts that who asks knows of: all, or those that it may enter.
    ///
    /// # Errors
    /// They are refused.
    pub(super) async fn visible_vhosts(&self) -> Result<Vec<String>, Fault> {
        let rows = self.rows(Operation::VHosts(VHostOperation::ListVhosts)).await?;
        Ok(rows.filter_map(|row| if let Row::VHost(row) = row { Some(row.name) } else { None }).collect())
    }

    /// As [`Self::rows`], of the vhost that the path names, or of all that who asks may look into.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn rows_in(&self, operation: impl Fn(String) -> Operation) -> Result<Rows, Fault> {
        match self.vhost() {
            all if all.is_empty() => self.rows_of_all(self.visible_vhosts().await?, operation).await,
            named => self.rows(operation(named)).await,
        }
    }

    /// Whether the client takes compressed answers.
    pub(super) fn takes_gzip(&self) -> bool {
        takes_gzip(&self.headers)
    }

    /// One thing as JSON: of its fields those that were asked for.
    pub(super) async fn one(&self, mut value: Value) -> Response {
        Columns::of(&self.query).pick(&mut value);
        let text = value.to_string().into_bytes();
        let answered = self.answer(text).await;
        answered.unwrap_or_else(IntoResponse::into_response)
    }

    /// Answers with JSON.
    ///
    /// # Errors
    /// It is large, and too much is not read.
    pub(super) async fn answer(&self, text: Vec<u8>) -> Result<Response, Fault> {
        answer::json_text(text, self.takes_gzip(), &self.state.answers).await
    }

    /// As [`Self::one`], of something large, which is made aside, and in its turn.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) async fn large(
        &self,
        turn: Turn,
        make: impl FnOnce() -> Result<Value, Fault> + Send + 'static,
    ) -> Result<Response, Fault> {
        let columns = Columns::of(&self.query);
        let picked = move || {
            let mut value = make()?;
            columns.pick(&mut value);
            Ok(value)
        };
        self.whole(turn, picked).await
    }

    /// As [`Self::large`], of an object whose field of this name has rows: the columns are theirs.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) async fn large_rows(
        &self,
        turn: Turn,
        rows: &'static str,
        make: impl FnOnce() -> Result<Value, Fault> + Send + 'static,
    ) -> Result<Response, Fault> {
        let columns = Columns::of(&self.query);
        let picked = move || {
            let mut value = make()?;
            let rows = value.get_mut(rows).and_then(Value::as_array_mut);
            rows.into_iter().flatten().for_each(|row| columns.pick(row));
            Ok(value)
        };
        self.whole(turn, picked).await
    }

    async fn whole(
        &self,
        turn: Turn,
        make: impl FnOnce() -> Result<Value, Fault> + Send + 'static,
    ) -> Result<Response, Fault> {
        let text = answer::aside(move || {
            let _turn = turn;
            make().map(|value| value.to_string().into_bytes())
        });
        self.answer(text.await??).await
    }
}

/// Whether the client takes compressed answers, by the headers of its request.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(is_gzip))
}

/// Whether an entry of `Accept-Encoding` is gzip and not refused.
fn is_gzip(entry: &str) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let is_it = matches!(parts.next(), Some("gzip" | "*"));
    is_it && parts.all(|part| part.strip_prefix("q=").is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0)))
}

//! Who asks: a user with its password (RFC 7617), or with the cookie of a session.

use super::answer::{Fault, done, json_of, who_are_you};
use super::body::{self, LOGIN_BYTES_MAX};
use super::route::{DELETE, GET, POST, Route, of_request};
use super::state::{Peer, State};
use crate::admin::users::UserOperation;
use crate::admin::{Answer, Caller, Operation, Requester, Tag, Told, perform};
use crate::broker::attempts::LoginBy;
use crate::clock;
use crate::statistics::SamplesWanted;
use axum::extract::{Extension, Request, State as Shared};
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::time::sleep;
use url::form_urlencoded;

/// The name of the cookie.
const SESSION: &str = "leveret_session";

/// The header of a request that changes something by the cookie, or the cookie itself: a page of
/// another origin cannot send it.
const GUARD: (&str, &str) = ("x-requested-with", "leveret");

/// Who was let in.
pub(super) struct Login {
    pub(super) who: Requester,
    /// The user's name; of an operator how the log calls it.
    pub(super) name: String,
    pub(super) tags: Vec<String>,
    /// By a cookie, which a browser sends whether its user wants that or not.
    pub(super) by_cookie: bool,
}

/// A name and a password, as they are given.
#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        of_request(GET, "/api/session", "Get the user who is logged in", session),
        of_request(POST, "/api/session", "Log in and set a session cookie", open),
        of_request(DELETE, "/api/session", "Log out", close),
        of_request(POST, "/api/login", "Log in with a form, as RabbitMQ's management UI does", form),
    ]
}

/// Lets somebody in.
///
/// # Errors
/// The answer that it gets instead.
pub(super) async fn check(
    state: &Arc<State>,
    headers: &HeaderMap,
    peer: Option<Peer>,
) -> Result<Login, Response> {
    if let Some(Peer::Operator(uid)) = peer {
        return Ok(operator(uid));
    }
    if let Some(given) = headers.get(AUTHORIZATION) {
        let Some((name, password)) = basic(given) else {
            return Err(Fault::not_authenticated().into_response());
        };
        log_in(state, &name, &password, peer).await.map_err(IntoResponse::into_response)?;
        return identify(state, name, false).map_err(IntoResponse::into_response);
    }
    let Some(secret) = cookie(headers) else { return Err(who_are_you(is_from_script(headers))) };
    match state.sessions.user(&state.broker, secret, clock::mono_ms()) {
        Some(user) => identify(state, user, true).map_err(IntoResponse::into_response),
        None => Err(Fault::not_authenticated().into_response()),
    }
}

/// Whether a page of this origin asks, or no browser.
///
/// # Errors
/// It may be a page of another origin.
pub(super) fn check_guard(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get(GUARD.0).is_some_and(|value| value == GUARD.1) {
        return Ok(());
    }
    let why = format!("this request needs the header {}: {}", GUARD.0, GUARD.1);
    Err(Fault::new(StatusCode::FORBIDDEN, "forbidden", why))
}

/// Whoever may open the socket may do all, and needs no name.
fn operator(uid: Option<u32>) -> Login {
    let name = uid.map_or_else(|| "ctl".to_owned(), |uid| format!("ctl, uid {uid}"));
    let tags = vec![Tag::Administrator.name().to_owned()];
    Login { who: Requester::Operator(name.clone()), name, tags, by_cookie: false }
}

/// Whether a page asks, which has a form of its own for logins: with the header that pages send, or
/// for events, for which they cannot send any.
fn is_from_script(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    headers.contains_key(GUARD.0) || accepts.is_some_and(|accepts| accepts.contains("text/event-stream"))
}

/// Whether that is the user's password; who tries again and again waits for the answer.
async fn log_in(state: &Arc<State>, name: &str, password: &str, peer: Option<Peer>) -> Result<(), Fault> {
    let (address, is_local, shown) = match peer {
        Some(Peer::Address { address, .. }) => {
            let ip = address.ip().to_canonical();
            (Some(ip), ip.is_loopback(), address.to_string())
        }
        Some(Peer::Operator(_)) => (None, true, "socket".to_owned()),
        None => (None, false, "unknown".to_owned()),
    };
    match Requester::log_in(&state.broker, (name, password.as_bytes()), &shown, is_local) {
        Ok(_user) => {
            state.broker.attempts().succeed(LoginBy::Http);
            Ok(())
        }
        Err(_logged) => {
            if let Some(address) = address {
                sleep(state.broker.attempts().fail(LoginBy::Http, address, clock::mono_ms())).await;
            }
            Err(Fault::not_authenticated())
        }
    }
}

/// Who that is, if it has a tag by which it may use this at all.
fn identify(state: &Arc<State>, user: String, by_cookie: bool) -> Result<Login, Fault> {
    let who = Requester::User(user);
    let caller = Caller {
        who: who.clone(),
        now: state.broker.clock().now(),
        inquiry: None,
        samples: SamplesWanted::default(),
        rows: None,
    };
    let performed = perform(&state.broker, Operation::Users(UserOperation::WhoAmI), &caller);
    let told = match performed.map(|performed| performed.answer) {
        Ok(Answer::One(told)) => *told,
        Ok(Answer::Many(_) | Answer::Copy(_)) => return Err(Fault::not_authenticated()),
        Err(_refusal) => return Err(Fault::not_authorised("Not management user")),
    };
    match told {
        Told::User(row) => Ok(Login { who, name: row.user, tags: row.tags, by_cookie }),
        _ => Err(Fault::not_authenticated()),
    }
}

/// The name and the password of RFC 7617.
fn basic(given: &HeaderValue) -> Option<(String, String)> {
    let given = given.to_str().ok()?;
    let (scheme, encoded) = given.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// The secret of the session, if there is a cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION).map(|(_, secret)| secret)
}

/// Who asks, or 204 when that is nobody: browsers tell their users of every 401.
async fn session(shared: Shared<Arc<State>>, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Response {
    match check(&shared, &headers, peer.map(|Extension(peer)| peer)).await {
        Ok(login) => json_of(StatusCode::OK, &json!({"name": login.name, "tags": login.tags})),
        Err(_refused) => done(),
    }
}

async fn open(shared: Shared<Arc<State>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Shared(state) = shared;
    // Another page could make its user work as somebody else without noticing.
    if let Err(fault) = check_guard(&parts.headers) {
        return fault.into_response();
    }
    let body = match body::read(body, LOGIN_BYTES_MAX, &state.bodies).await {
        Ok(body) => body,
        Err(fault) => return fault.into_response(),
    };
    let Ok(Credentials { username, password }) = serde_json::from_slice(body.bytes()) else {
        return Fault::bad_request("a username and a password are needed").into_response();
    };
    let peer = parts.extensions.get::<Peer>().copied();
    if let Err(fault) = log_in(&state, &username, &password, peer).await {
        return fault.into_response();
    }
    if let Err(fault) = identify(&state, username.clone(), true) {
        return fault.into_response();
    }
    let secret = state.sessions.open(&state.broker, &username, clock::mono_ms());
    with_cookie(done(), &secret, peer)
}

async fn close(shared: Shared<Arc<State>>, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Response {
    if let Err(fault) = check_guard(&headers) {
        return fault.into_response();
    }
    if let Some(secret) = cookie(&headers) {
        shared.sessions.close(secret);
    }
    with_cookie(done(), "; Max-Age=0", peer.map(|Extension(peer)| peer))
}

/// RabbitMQ's pages send a form and keep the password themselves.
async fn form(shared: Shared<Arc<State>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Shared(state) = shared;
    let is_form = parts.headers.get("content-type").is_some_and(|kind| {
        kind.to_str().is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    });
    if !is_form {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let body = match body::read(body, LOGIN_BYTES_MAX, &state.bodies).await {
        Ok(body) => body,
        Err(fault) => return fault.into_response(),
    };
    let field = |name: &str| {
        let mut pairs = form_urlencoded::parse(body.bytes());
        pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let peer = parts.extensions.get::<Peer>().copied();
    match log_in(&state, &field("username"), &field("password"), peer).await {
        Ok(()) => json_of(StatusCode::OK, &json!("ok")),
        Err(fault) => fault.into_response(),
    }
}

/// Sets the cookie to `value`, which may have attributes. If it came by TLS, a browser sends it
/// back by TLS alone.
fn with_cookie(mut answer: Response, value: &str, peer: Option<Peer>) -> Response {
    let secure = if matches!(peer, Some(Peer::Address { by_tls: true, .. })) { "; Secure" } else { "" };
    let cookie = format!("{SESSION}={value}; HttpOnly; SameSite=Strict; Path=/api{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

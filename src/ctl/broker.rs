//! The conversation with the broker: an operation is asked for by the API, whose answer is one
//! thing, the rows of a list, or a refusal.

use super::Asks;
use super::error::{CtlError, status_of};
use crate::admin::policies::PolicyOperation;
use crate::admin::{Operation, Refusal, RefusalKind};
use crate::api_client::{Answer, ApiError, BodyKind, Client, Endpoint, Method};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The path where every operation is done.
const OPERATIONS: &str = "/api/operations";

/// What there is to say where the API has no such path.
const NO_LEVERET: &str = "there is no /api/operations: the URL has to be that of Leveret, without a path, as in http://broker:15672";

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    client: Client,
    /// Who asks, if it asks by a URL.
    user: Option<String>,
}

/// What a broker answers.
#[derive(Debug)]
pub enum Reply {
    /// One thing.
    One(Value),
    /// A list, of which [`Broker::row`] has the rows.
    Many(Answer),
    /// A copy of the data file, of which [`Broker::part`] has the bytes.
    Copy(Answer),
}

/// Why something is refused, as the API says it.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    reason: Value,
}

impl Broker {
    /// The broker that is there; `wait` is how long it may say nothing.
    ///
    /// # Errors
    /// There is none, or it may not be talked to.
    pub fn connect(target: Endpoint, wait: Duration) -> Result<Self, CtlError> {
        let user = if let Endpoint::Url { user, .. } = &target { Some(user.clone()) } else { None };
        Ok(Self { client: Client::connect(target, wait)?, user })
    }

    /// Asks for what a command asks for.
    ///
    /// # Errors
    /// It is refused, or the broker is gone.
    pub fn ask(&mut self, asks: &Asks) -> Result<Reply, CtlError> {
        let (answer, operation) = match asks {
            Asks::Operation(operation) => {
                let body = serde_json::to_vec(operation);
                let body = body.map_err(|error| CtlError::Usage(error.to_string()))?;
                (self.client.ask(Method::POST, OPERATIONS, body)?, Some(operation))
            }
            Asks::Path(method, path, body) | Asks::PathIn { method, path, body, .. } => {
                let body = body.as_ref().map(Value::to_string).unwrap_or_default();
                (self.client.ask(method.clone(), path, body.into_bytes())?, None)
            }
            Asks::Nothing(told) => return Ok(Reply::One(told.clone())),
        };
        match answer.status {
            200 if answer.kind == BodyKind::Lines => Ok(Reply::Many(answer)),
            200 if answer.kind == BodyKind::Bytes => Ok(Reply::Copy(answer)),
            200 => Ok(Reply::One(parsed(&self.client.whole(answer)?)?)),
            201 | 204 => Ok(Reply::One(Value::Null)),
            status => {
                let text = self.client.whole(answer)?;
                if let (404, Asks::PathIn { method, vhost, missing, .. }) = (status, asks) {
                    return Err(self.missing(method, vhost, missing));
                }
                Err(refused(status, &text, operation, self.user.as_deref().unwrap_or_default()))
            }
        }
    }

    /// Looks whether there is a vhost of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn check_vhost(&mut self, name: &str) -> Result<(), CtlError> {
        let list = PolicyOperation::ListOperatorPolicies { vhost: name.to_owned() };
        if let Reply::Many(mut rows) = self.ask(&Asks::Operation(Operation::Policies(list)))? {
            while self.row(&mut rows)?.is_some() {}
        }
        Ok(())
    }

    /// What the broker did not find: the vhost, or else what is missing in it. As in rabbitmqctl,
    /// what cannot be cleared has the same status in either case.
    fn missing(&mut self, method: &Method, vhost: &str, what: &str) -> CtlError {
        match self.check_vhost(vhost) {
            Err(CtlError::Refused { refusal, .. }) if *method == Method::DELETE => {
                CtlError::Check(refusal.message)
            }
            Err(error) => error,
            Ok(()) => CtlError::Check(what.to_owned()),
        }
    }

    /// The data folder, if it is known by that.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.client.folder()
    }

    /// The next row of a list.
    ///
    /// # Errors
    /// The broker is gone, or makes no sense.
    pub fn row(&self, answer: &mut Answer) -> Result<Option<Value>, CtlError> {
        self.client.line(answer)?.map(|line| parsed(&line)).transpose()
    }

    /// The next bytes of a copy.
    ///
    /// # Errors
    /// The broker is gone, or it ended before its time.
    pub fn part(&self, answer: &mut Answer) -> Result<Option<Bytes>, CtlError> {
        Ok(self.client.part(answer)?)
    }
}

fn parsed(text: &[u8]) -> Result<Value, CtlError> {
    serde_json::from_slice(text).map_err(|error| CtlError::Garbled(error.to_string()))
}

/// Why there was another status than 200, for an operation or for a path that this user asked for.
fn refused(status: u16, text: &[u8], operation: Option<&Operation>, user: &str) -> CtlError {
    let Ok(Told { error, reason }) = serde_json::from_slice(text) else {
        return match (status, serde_json::from_slice::<Value>(text)) {
            (503, Ok(told)) => CtlError::Check(not_well(&told)),
            (401, _) => CtlError::NoRight("the broker asks for a user and a password".to_owned()),
            (404, _) => CtlError::Garbled(NO_LEVERET.to_owned()),
            (status, _) => CtlError::Garbled(format!("status {status}")),
        };
    };
    let message = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
    let kind = serde_json::from_value::<RefusalKind>(Value::from(error));
    match (kind, operation) {
        (Ok(kind), Some(operation)) => {
            let status = status_of(operation, kind);
            let near = match operation {
                Operation::Policies(
                    PolicyOperation::SetPolicy(setting)
                    | PolicyOperation::SetOperatorPolicy(setting)
                    | PolicyOperation::PreviewPolicy(setting),
                ) if kind == RefusalKind::Invalid => setting.did_you_mean(),
                _ => String::new(),
            };
            CtlError::Refused { status, refusal: Refusal::new(kind, format!("{message}{near}")) }
        }
        (_, _) if status == 401 => {
            let why = match message.as_str() {
                "Not_Authorized" => "the name or the password is wrong",
                "Not management user" => {
                    "the API requires the tag management, policymaker, monitoring or administrator"
                }
                other => other,
            };
            CtlError::NoRight(format!("the broker refuses user '{user}': {why}"))
        }
        (_, Some(_)) if status == 404 => CtlError::Garbled(NO_LEVERET.to_owned()),
        (_, Some(_)) => CtlError::Garbled(message),
        // RabbitMQ's words for it are several lines.
        (_, None) => {
            CtlError::Check(message.trim_start_matches("Validation failed").trim().replace('\n', " "))
        }
    }
}

/// Why a check of health failed, with the alarms or certificates if it is because of these, or with
/// the port or the protocol that nothing listens for and those that something does.
fn not_well(told: &Value) -> String {
    let reason = told["reason"].as_str().unwrap_or("failed");
    if let (Some(port), Some(ports)) = (told["missing"].as_u64(), told["ports"].as_array()) {
        let ports: Vec<String> = ports.iter().map(Value::to_string).collect();
        return format!("{reason} on port {port}; there is one on each of the ports {}", ports.join(", "));
    }
    if let (Some(missing), Some(protocols)) = (told["missing"].as_array(), told["protocols"].as_array()) {
        let names = |names: &[Value]| {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(", ")
        };
        return format!("{reason} for {}; there are listeners for {}", names(missing), names(protocols));
    }
    let alarms = told["alarms"].as_array().into_iter().flatten();
    let mut because: Vec<String> =
        alarms.filter_map(|alarm| alarm["resource"].as_str()).map(str::to_owned).collect();
    let expired = told["expired"].as_array().into_iter().flatten();
    for one in expired.flat_map(|listener| listener["certificates"].as_array().into_iter().flatten()) {
        let [file, subject, date] =
            ["file", "subject", "expires_on"].map(|key| one[key].as_str().unwrap_or_default());
        let one = format!("{file} ({subject}) on {date}");
        // Listeners have them in common.
        if !because.contains(&one) {
            because.push(one);
        }
    }
    if because.is_empty() { reason.to_owned() } else { format!("{reason}: {}", because.join(", ")) }
}

impl From<ApiError> for CtlError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Unreachable(why) => Self::NotRunning(why),
            ApiError::OtherProtocol(why) => Self::OtherProtocol(why),
            ApiError::NoRight(why) => Self::NoRight(why),
            ApiError::Garbled(what) => Self::Garbled(what),
        }
    }
}

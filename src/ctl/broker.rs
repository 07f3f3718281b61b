//! The conversation with the broker: an operation is asked for by the API, whose answer is one
//! thing, the rows of a list, or a refusal.

use super::error::{CtlError, status_of};
use crate::admin::{Operation, Refusal, RefusalKind};
use crate::api_client::{Answer, ApiError, Client, Target};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// The path where every operation is done.
const OPERATIONS: &str = "/api/operations";

/// A running broker.
#[derive(Debug)]
pub struct Broker(Client);

/// What a broker answers.
#[derive(Debug)]
pub enum Reply {
    /// One thing.
    One(Value),
    /// A list, of which [`Broker::row`] has the rows.
    Many(Answer),
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
    pub fn connect(target: Target, wait: Duration) -> Result<Self, CtlError> {
        Ok(Self(Client::connect(target, wait)?))
    }

    /// Does an operation.
    ///
    /// # Errors
    /// It is refused, or the broker is gone.
    pub fn perform(&mut self, operation: &Operation) -> Result<Reply, CtlError> {
        let body = serde_json::to_vec(operation).map_err(|error| CtlError::Usage(error.to_string()))?;
        let answer = self.0.post(OPERATIONS, body)?;
        match answer.status {
            200 if answer.is_lines => Ok(Reply::Many(answer)),
            200 => Ok(Reply::One(parsed(&self.0.whole(answer)?)?)),
            status => {
                let text = self.0.whole(answer)?;
                Err(refused(status, &text, |kind| status_of(operation, kind)))
            }
        }
    }

    /// The next row of a list.
    ///
    /// # Errors
    /// The broker is gone, or makes no sense.
    pub fn row(&self, answer: &mut Answer) -> Result<Option<Value>, CtlError> {
        self.0.line(answer)?.map(|line| parsed(&line)).transpose()
    }
}

fn parsed(text: &[u8]) -> Result<Value, CtlError> {
    serde_json::from_slice(text).map_err(|error| CtlError::Garbled(error.to_string()))
}

/// Why there was another status than 200.
fn refused(status: u16, text: &[u8], status_of: impl Fn(RefusalKind) -> u8) -> CtlError {
    let Ok(Told { error, reason }) = serde_json::from_slice(text) else {
        return match status {
            401 => CtlError::NoRight("the broker asks for a user and a password".to_owned()),
            404 => CtlError::Garbled(format!("there is no {OPERATIONS}: is it a Leveret?")),
            status => CtlError::Garbled(format!("status {status}")),
        };
    };
    let message = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
    match serde_json::from_value::<RefusalKind>(Value::from(error)) {
        Ok(kind) => CtlError::Refused { status: status_of(kind), refusal: Refusal::new(kind, message) },
        Err(_of_http) if status == 401 => {
            CtlError::NoRight(format!("the broker refuses the user: {message}"))
        }
        Err(_of_http) if status == 404 => {
            CtlError::Garbled(format!("there is no {OPERATIONS}: is it a Leveret?"))
        }
        Err(_of_http) => CtlError::Garbled(message),
    }
}

impl From<ApiError> for CtlError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Unreachable(why) => Self::NotRunning(why),
            ApiError::NoRight(why) => Self::NoRight(why),
            ApiError::Garbled(what) => Self::Garbled(what),
        }
    }
}

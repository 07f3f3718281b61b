//! Which messages of a queue are meant: by how they stand, what is in their headers or bodies, or
//! why they died. All of what is said has to fit.

use super::refusal::{Refusal, RefusalKind};
use super::value::Value;
use crate::broker::browse::Found;
use crate::message::deaths;
use crate::message::{Message, properties, table};
use crate::near::did_you_mean;
use crate::queue::DeathReason;
use crate::queue::browse::MessageState;
use serde::{Deserialize, Serialize};

/// How a message stands, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownState {
    /// It waits for a consumer.
    Ready,
    /// A consumer has it.
    Unacknowledged,
    /// It waits for its time.
    Delayed,
    /// It has nowhere to go.
    Parked,
    /// It has died, or its time has come, and it is on its way to elsewhere.
    Leaving,
}

/// Which messages are meant; all of them where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// How they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ShownState>,
    /// They have this header, `NAME`, or with this value, `NAME:VALUE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Their body contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why they died last, or are parked: `rejected`, `expired`, `maxlen`, `delivery_limit`,
    /// `delayed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<MessageState> for ShownState {
    fn from(state: MessageState) -> Self {
        match state {
            MessageState::Ready => Self::Ready,
            MessageState::Unacknowledged => Self::Unacknowledged,
            MessageState::Delayed { .. } => Self::Delayed,
            MessageState::Dead { cause: Some(_), .. } => Self::Parked,
            MessageState::Dead { cause: None, .. } => Self::Leaving,
        }
    }
}

impl ShownState {
    /// The state of that name.
    ///
    /// # Errors
    /// There is none.
    fn named(name: &str) -> Result<Self, Refusal> {
        let all = [Self::Ready, Self::Unacknowledged, Self::Delayed, Self::Parked];
        all.into_iter().find(|state| state.name() == name).ok_or_else(|| {
            let why =
                format!("a message is 'ready', 'unacknowledged', 'delayed' or 'parked', and not '{name}'");
            Refusal::new(RefusalKind::Invalid, why)
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unacknowledged => "unacknowledged",
            Self::Delayed => "delayed",
            Self::Parked => "parked",
            Self::Leaving => "leaving",
        }
    }
}

/// Whether messages die for a reason of that name.
fn check_reason(name: &str) -> Result<(), Refusal> {
    let all = DeathReason::ALL.map(DeathReason::name);
    if all.contains(&name) {
        return Ok(());
    }
    let near = did_you_mean(name, all);
    let why = format!("there is no reason '{name}'; the reasons are {}{near}", all.join(", "));
    Err(Refusal::new(RefusalKind::Invalid, why))
}

impl Selection {
    /// Whether nothing is said.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Messages that stand as the state of that name says, died for the reason of that name, and
    /// have this header and this text, as far as these are given.
    ///
    /// # Errors
    /// There is no such state, or no message dies for that reason.
    pub fn named(
        [state, reason]: [Option<String>; 2],
        header: Option<String>,
        text: Option<String>,
    ) -> Result<Self, Refusal> {
        let state = state.map(|name| ShownState::named(&name)).transpose()?;
        reason.as_deref().map_or(Ok(()), check_reason)?;
        Ok(Self { state, header, text, reason })
    }

    /// Whether messages that stand so may be meant.
    pub(super) fn wants(&self, state: MessageState) -> bool {
        self.state.is_none_or(|wanted| wanted == state.into())
    }

    /// Whether a message is meant, as far as its record says.
    pub(super) fn fits(&self, found: &Found) -> bool {
        let message = found.message();
        self.header.as_ref().is_none_or(|header| has_header(&message, header))
            && self.text.as_ref().is_none_or(|text| contains(message.body, text.as_bytes()))
            && self.reason.as_ref().is_none_or(|reason| reason_of(found).as_ref() == Some(reason))
    }
}

/// Why a message died last.
pub(super) fn reason_of(found: &Found) -> Option<String> {
    if let MessageState::Dead { reason, .. } = found.state {
        return Some(reason.name().to_owned());
    }
    let headers = table::decode(properties::headers(found.message().properties)?).ok()?;
    deaths::read(&headers).into_iter().next().map(|death| death.reason)
}

fn has_header(message: &Message<'_>, wanted: &str) -> bool {
    let (name, value) = wanted.split_once(':').map_or((wanted, None), |(name, value)| (name, Some(value)));
    let headers = properties::headers(message.properties);
    let Some(found) = headers.and_then(|headers| table::get(headers, name.as_bytes())) else { return false };
    let Some(value) = value else { return true };
    found.decode().is_ok_and(|found| match Value::of(&found) {
        Value::Text(text) => text == value,
        other => serde_json::to_string(&other).is_ok_and(|text| text == value),
    })
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|part| part == text)
}

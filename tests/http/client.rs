//! A broker and those who ask it by HTTP.

use crate::support::process::{Folder, Process};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conformance::api::http::{Answer, ask, send};
use serde_json::Value;

/// A broker, and guest, who may do everything.
pub(super) struct Api {
    pub(super) broker: Process,
    _folder: Folder,
}

/// The header by which a user says who it is.
pub(super) fn login(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The JSON of an answer.
pub(super) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

impl Api {
    pub(super) fn start() -> Self {
        let folder = Folder::new();
        Self::of(Process::start(&folder), folder)
    }

    pub(super) fn of(broker: Process, folder: Folder) -> Self {
        Self { broker, _folder: folder }
    }

    /// Asks with these headers.
    pub(super) fn ask_with(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let answer = ask(self.broker.http, (method, path), headers, body.map(str::as_bytes));
        answer.expect("the broker answers")
    }

    /// Asks as a user whose password is its name.
    pub(super) fn ask_as(&self, user: &str, request: (&str, &str), body: Option<&str>) -> Answer {
        self.ask_with(request, &[("Authorization", &login(user, user))], body)
    }

    /// Asks as guest.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.ask_as("guest", (method, path), body)
    }

    /// Asks as guest, and gets this status.
    #[track_caller]
    pub(super) fn check(&self, method: &str, path: &str, body: Option<&str>, status: u16) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        json(&answer)
    }

    /// Sends bytes as they are.
    pub(super) fn send(&self, bytes: &[u8]) -> Answer {
        send(self.broker.http, bytes).expect("the broker answers")
    }

    /// A user with these tags, whose password is its name.
    pub(super) fn add_user(&self, name: &str, tags: &str) {
        let body = format!(r#"{{"password":"{name}","tags":"{tags}"}}"#);
        self.check("PUT", &format!("/api/users/{name}"), Some(&body), 201);
    }
}

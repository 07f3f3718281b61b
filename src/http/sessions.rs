//! Sessions of the web pages: a secret in a cookie stands for a user who has logged in.
//!
//! A session ends with its time, when nobody has used it for long, or when the user's password
//! changes or the user goes. There are only so many; a new one takes the place of the one that was
//! unused for longest.

use crate::auth::password::PasswordHash;
use crate::broker::Broker;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions at a time.
const SESSIONS_MAX: usize = 1024;

/// How long a session lasts that nobody uses: an operator's shift.
const IDLE_MS: u64 = 8 * 3600 * 1000;

/// Bytes of a secret.
const SECRET: usize = 32;

/// All sessions, by their secrets.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    user: String,
    /// The user's password when it logged in: with another one it has to do so again.
    password: Option<PasswordHash>,
    used_ms: u64,
}

impl Sessions {
    /// A session for a user who has shown its password: its secret.
    ///
    /// # Panics
    /// When the operating system has no random bytes. It had some for the data file.
    pub(super) fn open(&self, broker: &Broker, user: &str, now_ms: u64) -> String {
        let mut bytes = [0; SECRET];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        let mut secret = String::with_capacity(2 * SECRET);
        for byte in bytes {
            // Writing to a String does not fail.
            let _always = write!(secret, "{byte:02x}");
        }
        let password = broker.users().get(user).and_then(|user| user.password);
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_alive(now_ms));
        if sessions.len() >= SESSIONS_MAX
            && let Some(idlest) =
                sessions.iter().min_by_key(|(_, session)| session.used_ms).map(|(secret, _)| secret.clone())
        {
            sessions.remove(&idlest);
        }
        sessions.insert(secret.clone(), Session { user: user.to_owned(), password, used_ms: now_ms });
        secret
    }

    /// The user whose session that is.
    pub(super) fn user(&self, broker: &Broker, secret: &str, now_ms: u64) -> Option<String> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(secret).filter(|session| session.is_alive(now_ms))?;
        let user = broker.users().get(&session.user)?;
        if user.password != session.password {
            sessions.remove(secret);
            return None;
        }
        session.used_ms = now_ms;
        Some(user.name)
    }

    /// The session ends.
    pub(super) fn close(&self, secret: &str) {
        self.lock().remove(secret);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_alive(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms) < IDLE_MS
    }
}

//! Sessions of the web pages: a secret in a cookie stands for a user who has logged in.
//!
//! A session ends with its time, when nobody has used it for long, or when the user's password
//! changes or the user goes. There are only so many; a new one takes the place of one of the same
//! user, the one that was unused for longest, so that nobody ends the sessions of others.

use crate::auth::password::PasswordHash;
use crate::broker::Broker;
use crate::machine::random_bytes;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions at a time.
const SESSIONS_MAX: usize = 1024;

/// Sessions of a user at a time: browsers, each of which has one for all its pages.
const SESSIONS_OF_USER_MAX: usize = 32;

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
        let bytes: [u8; SECRET] = random_bytes().expect("the operating system has random bytes");
        let mut secret = String::with_capacity(2 * SECRET);
        for byte in bytes {
            // Writing to a String does not fail.
            let _always = write!(secret, "{byte:02x}");
        }
        let password = broker.users().get(user).and_then(|user| user.password);
        self.add(secret.clone(), Session { user: user.to_owned(), password, used_ms: now_ms });
        secret
    }

    /// Adds a session that begins now, and ends another if there are too many: of the user who has
    /// most of them, if it is not this one who has as many as it may.
    fn add(&self, secret: String, new: Session) {
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_alive(new.used_ms));
        let mut by_user: HashMap<&str, usize> = HashMap::new();
        for session in sessions.values() {
            *by_user.entry(&session.user).or_default() += 1;
        }
        let own = by_user.get(&*new.user).copied().unwrap_or_default();
        let crowd = if own >= SESSIONS_OF_USER_MAX {
            Some(&*new.user)
        } else if sessions.len() >= SESSIONS_MAX {
            by_user.into_iter().max_by_key(|&(_, count)| count).map(|(user, _)| user)
        } else {
            None
        };
        let of_crowd = sessions.iter().filter(|(_, session)| Some(&*session.user) == crowd);
        let idlest = of_crowd.min_by_key(|(_, session)| session.used_ms).map(|(secret, _)| secret.clone());
        if let Some(idlest) = idlest {
            sessions.remove(&idlest);
        }
        sessions.insert(secret, new);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sessions: &Sessions, user: &str, used_ms: u64) {
        let new = Session { user: user.to_owned(), password: None, used_ms };
        sessions.add(format!("{user}-{used_ms}"), new);
    }

    fn has(sessions: &Sessions, secret: &str) -> bool {
        sessions.lock().contains_key(secret)
    }

    #[test]
    fn a_user_ends_sessions_of_its_own_alone() {
        let sessions = Sessions::default();
        add(&sessions, "ann", 0);
        (1..=2 * SESSIONS_MAX as u64).for_each(|now_ms| add(&sessions, "bob", now_ms));
        assert!(has(&sessions, "ann-0"));
        let (first, last) = (2 * SESSIONS_MAX - SESSIONS_OF_USER_MAX + 1, 2 * SESSIONS_MAX);
        assert!(has(&sessions, &format!("bob-{first}")) && has(&sessions, &format!("bob-{last}")));
        assert_eq!(sessions.lock().len(), 1 + SESSIONS_OF_USER_MAX);
    }

    #[test]
    fn many_users_end_sessions_of_those_who_have_most() {
        let sessions = Sessions::default();
        (1..=SESSIONS_OF_USER_MAX as u64).for_each(|now_ms| add(&sessions, "bob", now_ms));
        let others = SESSIONS_MAX - SESSIONS_OF_USER_MAX;
        (0..others + 5).for_each(|other| add(&sessions, &format!("user{other}"), 0));
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
        assert!(has(&sessions, "user0-0") && !has(&sessions, "bob-5") && has(&sessions, "bob-6"));
    }
}

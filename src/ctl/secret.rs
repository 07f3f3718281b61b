//! Passwords that are not on the command line, where every process of the machine can read them:
//! from standard input, which does not show what is typed.

use super::error::CtlError;
use crate::admin::Password;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Read, Stdin, Write};

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 4096;

/// The password that was given, or else the first line of standard input.
///
/// # Errors
/// There is none there.
pub fn password(given: Option<String>) -> Result<Password, CtlError> {
    if let Some(given) = given {
        return Ok(Password(given));
    }
    let input = io::stdin();
    let hidden = if input.is_terminal() { Some(Hidden::start(&input)?) } else { None };
    let mut line = Vec::new();
    let read = input.lock().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    drop(hidden);
    read.map_err(|error| CtlError::Usage(format!("cannot read the password: {error}")))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    let no_text = |_| CtlError::Usage("the password on standard input is not UTF-8".to_owned());
    let password = String::from_utf8(line).map_err(no_text)?;
    if password.is_empty() {
        return Err(CtlError::NoPassword(
            "a password is missing: give it as an argument or on standard input".to_owned(),
        ));
    }
    Ok(Password(password))
}

/// What is typed is not shown, until this is dropped.
struct Hidden<'a> {
    input: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn start(input: &'a Stdin) -> Result<Self, CtlError> {
        let failed = |error| CtlError::Usage(format!("cannot hide the password while it is typed: {error}"));
        let before = tcgetattr(input).map_err(failed)?;
        let mut hiding = before.clone();
        hiding.local_modes.remove(LocalModes::ECHO);
        tcsetattr(input, OptionalActions::Now, &hiding).map_err(failed)?;
        // Whoever does not see the question will know what is waited for.
        let _asked = write!(io::stderr(), "Password: ");
        Ok(Self { input, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _restored = tcsetattr(self.input, OptionalActions::Now, &self.before);
        // The end of the line was typed, and not shown either.
        let _ended = writeln!(io::stderr());
    }
}

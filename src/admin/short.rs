//! Texts that travel as AMQP's short strings (AMQP 0-9-1 section 4.2.5.3): those of a client cannot
//! be longer, those that are asked for here could.

use super::refusal::{Refusal, RefusalKind};

/// As [`check`], for names under which something is made: AMQP clients say names without line ends,
/// which the broker takes out, so that one with some would not be found again.
///
/// # Errors
/// The first that cannot be used.
pub(super) fn check_names<'a>(
    names: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Result<(), Refusal> {
    names.into_iter().try_for_each(|(what, name)| {
        if name.contains(['\r', '\n']) {
            return Err(Refusal::new(RefusalKind::Invalid, format!("the {what} has a line end")));
        }
        check([(what, name)])
    })
}

/// Whether these fit, each with what it is.
///
/// # Errors
/// The first that does not.
pub(super) fn check<'a>(texts: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result<(), Refusal> {
    match texts.into_iter().find(|(_, text)| text.len() > usize::from(u8::MAX)) {
        None => Ok(()),
        Some((what, text)) => {
            let why = format!("the {what} has {} bytes; {} are allowed", text.len(), u8::MAX);
            Err(Refusal::new(RefusalKind::Invalid, why))
        }
    }
}

//! Texts that travel as AMQP's short strings (AMQP 0-9-1 section 4.2.5.3): those of a client cannot
//! be longer, those that are asked for here could.

use super::refusal::{Refusal, RefusalKind};

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

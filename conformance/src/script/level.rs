//! What a case holds a broker to, as its head says it:
//! `level: specification, basic.ack (multiple)`, where the words after the comma name what it is
//! about, or `level: rabbitmq`, where they may say what is RabbitMQ's own.

use std::fmt;

/// The two that a case may have; results are counted for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// AMQP 0-9-1 asks for it: whoever fails the case breaks the specification. Texts for people
    /// are not compared.
    Specification,
    /// RabbitMQ does it: its extensions, its choices where the specification leaves one, its words.
    #[default]
    Rabbitmq,
}

impl Level {
    /// Both, in the order of results.
    pub const ALL: [Self; 2] = [Self::Specification, Self::Rabbitmq];

    /// As heads, options and results write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Specification => "specification",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    /// The level that `word` names.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn named(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|level| level.word() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(" or ");
            format!("'{word}' is no level; there is {known}")
        })
    }

    /// Reads the value of a head's `level:`; the level, and what is said about it.
    ///
    /// # Errors
    /// There is no such level, or the specification is meant and not which part of it.
    pub(crate) fn read(value: &str) -> Result<(Self, String), String> {
        let (word, about) = value.split_once(',').unwrap_or((value, ""));
        let (level, about) = (Self::named(word.trim())?, about.trim());
        if level == Self::Specification && about.is_empty() {
            return Err("'level: specification' wants a comma and what it is about, as in basic.ack".into());
        }
        Ok((level, about.to_owned()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

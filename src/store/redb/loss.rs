//! How many messages a repair could not keep, as far as that is known.

use std::fmt;

/// What a repair could not keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loss {
    messages: u64,
    /// Parts of the file of which nobody knows how many messages they had, if any.
    unknown: u64,
}

impl Loss {
    /// So many messages.
    pub(super) fn messages(&mut self, count: u64) {
        self.messages += count;
    }

    /// So many parts with who knows how many messages.
    pub(super) fn unknown(&mut self, parts: u64) {
        self.unknown += parts;
    }

    /// As much more.
    pub(super) fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.unknown += more.unknown;
    }

    /// A run of so many messages, as it seems; 0 when that cannot be told.
    pub(super) fn run(&mut self, messages: u32) {
        if messages == 0 { self.unknown(1) } else { self.messages(messages.into()) }
    }

    /// Says it in the last line of a repair.
    pub(super) fn tell(self) {
        if self == Self::default() {
            tracing::info!("repair: {self}");
        } else {
            tracing::warn!("repair: {self}");
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.messages {
            1 => "1 message is lost".to_owned(),
            count => format!("{count} messages are lost"),
        };
        let parts = match self.unknown {
            1 => "one damaged part of the file".to_owned(),
            parts => format!("{parts} damaged parts of the file"),
        };
        match (self.messages, self.unknown) {
            (0, 0) => f.write_str("no message is lost"),
            (_, 0) => f.write_str(&count),
            (0, _) => write!(f, "nobody knows how many messages {parts} had, which are lost"),
            _ => write!(f, "at least {count}; nobody knows how many {parts} had"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_claimed() {
        for (runs, expected) in [
            (&[][..], "no message is lost"),
            (&[1], "1 message is lost"),
            (&[4, 3], "7 messages are lost"),
            (&[0], "nobody knows how many messages one damaged part of the file had, which are lost"),
            (
                &[0, 2, 0],
                "at least 2 messages are lost; nobody knows how many 2 damaged parts of the file had",
            ),
        ] {
            let mut loss = Loss::default();
            runs.iter().for_each(|&messages| loss.run(messages));
            assert_eq!(loss.to_string(), expected);
        }
    }
}

//! A vhost as it is kept: a name, what an operator says of it, limits.

use super::user::{check_name, tags};

/// The vhost that is there from the beginning.
pub const ROOT: &str = "/";

/// The longest description, in bytes: a few sentences.
const DESCRIPTION_MAX: usize = 4096;

/// What a queue may be when its declaration does not say.
const QUEUE_TYPES: [&str; 3] = ["classic", "quorum", "stream"];

/// What there may be in one vhost at a time; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VHostLimits {
    /// Connections.
    pub connections_max: Option<u32>,
    /// Queues that clients have declared.
    pub queues_max: Option<u32>,
}

/// A virtual host as it is stored: name, metadata, limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VHostRecord {
    /// Its name.
    pub name: String,
    /// What it is for, in the operator's words.
    pub description: String,
    /// Whatever the operator likes; each once, in order.
    pub tags: Vec<String>,
    /// The type of a queue whose declaration names none: `classic`, `quorum` or
    /// `stream`; none is `classic`.
    pub default_queue_type: Option<String>,
    /// What there may be in it.
    pub limits: VHostLimits,
    /// It cannot be deleted.
    pub protected: bool,
}

impl VHostRecord {
    /// One with this name and nothing else.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The one that is there from the beginning, in RabbitMQ's words.
    #[must_use]
    pub fn root() -> Self {
        Self { description: "Default virtual host".to_owned(), ..Self::named(ROOT) }
    }

    /// The same with its tags in order, if it can be kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn checked(self) -> Result<Self, String> {
        check_name("vhost", &self.name)?;
        if self.description.len() > DESCRIPTION_MAX {
            let len = self.description.len();
            return Err(format!("a description has {DESCRIPTION_MAX} bytes at most, not {len}"));
        }
        if let Some(kind) = &self.default_queue_type
            && !QUEUE_TYPES.contains(&kind.as_str())
        {
            return Err(format!("the default queue type is classic, quorum or stream, not '{kind}'"));
        }
        let tags = tags("vhost", &self.tags.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { tags, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let refused = |record: VHostRecord| record.checked().unwrap_err();
        assert_eq!(refused(VHostRecord::named("")), "the name of a vhost has 1 to 255 bytes, not 0");
        let kind = Some("bogus".to_owned());
        assert_eq!(
            refused(VHostRecord { default_queue_type: kind, ..VHostRecord::root() }),
            "the default queue type is classic, quorum or stream, not 'bogus'"
        );
        let description = "x".repeat(4097);
        assert_eq!(
            refused(VHostRecord { description, ..VHostRecord::root() }),
            "a description has 4096 bytes at most, not 4097"
        );
        let tags = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(VHostRecord { tags, ..VHostRecord::root() }.checked().unwrap().tags, ["a", "b"]);
        let tags = (0..65).map(|n| n.to_string()).collect();
        assert_eq!(
            refused(VHostRecord { tags, ..VHostRecord::root() }),
            "a vhost has 65 tags; 64 are allowed"
        );
    }
}

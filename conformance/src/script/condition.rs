//! Which broker, and which versions of it, a `when` block is for.

use crate::script::Relation;
use crate::script::cursor::{Cursor, Read};

/// The brokers and versions that a `when` block applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Its product, in lower case.
    pub(crate) broker: String,
    /// How its version must relate to which numbers; any version when there are none.
    version: Option<(Relation, Vec<u64>)>,
}

impl Condition {
    /// Reads `rabbitmq`, `rabbitmq 4.3` or `rabbitmq >= 4.2`.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Read<Self> {
        let broker = cursor.name("a broker's name")?.to_ascii_lowercase();
        cursor.skip_spaces();
        let signs = [Relation::AtLeast, Relation::AtMost, Relation::IsNot, Relation::Is];
        let sign = signs.into_iter().find(|relation| cursor.eat(relation.sign()));
        cursor.skip_spaces();
        if sign.is_none() && cursor.peek() == Some(b'{') {
            return Ok(Self { broker, version: None });
        }
        let written = cursor.name("a version such as 4.3, or a block,")?;
        let numbers: Option<Vec<u64>> = written.split('.').map(|part| part.parse().ok()).collect();
        let numbers =
            numbers.ok_or_else(|| cursor.wrong(format!("'{written}' is no version; 4.3 is one")))?;
        Ok(Self { broker, version: Some((sign.unwrap_or(Relation::Is), numbers)) })
    }

    /// Whether `broker` in `version` is meant. Of the version only as many numbers count as the
    /// condition has.
    pub(crate) fn holds(&self, broker: &str, version: &str) -> bool {
        let Some((relation, wanted)) = &self.version else { return self.broker == broker };
        let number = |part: &str| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse::<u64>().unwrap_or(0)
        };
        let mut found: Vec<u64> = version.split('.').map(number).take(wanted.len()).collect();
        found.resize(wanted.len(), 0);
        let related = match relation {
            Relation::AtLeast => found >= *wanted,
            Relation::AtMost => found <= *wanted,
            Relation::IsNot => found != *wanted,
            Relation::Is | Relation::Like => found == *wanted,
        };
        self.broker == broker && related
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str, holds: &[&str], fails: &[&str]) {
        let text = format!("{condition} {{");
        let read = Condition::read(&mut Cursor::new(&text, 1)).unwrap();
        for version in holds {
            assert!(read.holds("rabbitmq", version), "{condition} and {version}");
            assert!(!read.holds("leveret", version), "{condition} is not about leveret");
        }
        for version in fails {
            assert!(!read.holds("rabbitmq", version), "{condition} and {version}");
        }
    }

    #[test]
    fn a_version_is_compared_as_far_as_it_is_written() {
        check("rabbitmq", &["4.3.6", "3.8", ""], &[]);
        check("RabbitMQ 4.3", &["4.3", "4.3.6", "4.3.0-rc.1"], &["4.2.9", "4.30", "4", "5.3"]);
        check("rabbitmq = 4", &["4.0.1", "4.3.6"], &["3.13.7"]);
        check("rabbitmq >= 4.2", &["4.2.0", "4.10", "5.0"], &["4.1.9", "3.13"]);
        check("rabbitmq <= 4.2", &["4.2.9", "3.13"], &["4.3.0"]);
        check("rabbitmq != 4.2", &["4.3", "4.1"], &["4.2.1"]);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["rabbitmq new {", "rabbitmq >= {", "rabbitmq 4.x {", "{"] {
            assert!(Condition::read(&mut Cursor::new(bad, 1)).is_err(), "{bad}");
        }
    }
}

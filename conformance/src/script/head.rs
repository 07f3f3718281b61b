//! The head of a script: `key: value` lines before the first step. An indented line goes on with
//! the value above.

use crate::script::cursor::{Read, Wrong};
use crate::script::definitions::Definitions;
use crate::script::level::Level;
use crate::script::{Differs, Head};

/// What a script may need, as [`Head::needs`] names it. `alone` is about the runner, the rest about
/// the broker.
pub(crate) const NEEDS: &[&str] = &[
    "alone",
    "streams",
    "quorum",
    "reject-publish",
    "tls",
    "consistent-hash",
    "random-exchange",
    "delayed-message",
    "retry-delays",
];

const KEYS: &[&str] = &["title", "source", "level", "needs", "also", "differs", "definitions"];

/// How else a script may be played, as `also:` says it.
const ONE_BY_ONE: &str = "one-by-one";

/// The key whose value is a document of several lines.
const DEFINITIONS: &str = "definitions";

/// The head, the text after it, and the number of that text's first line.
pub(crate) fn read(text: &str) -> Read<(Head, &str, usize)> {
    let mut lines: Vec<(usize, &str, String)> = Vec::new();
    let (mut at, mut number) = (0, 1);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let indented = line.starts_with([' ', '\t']) && !trimmed.is_empty();
        let key = line.split_once(':').map(|(key, value)| (key, value.trim()));
        let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
        match (key, lines.last_mut()) {
            (_, Some((_, key, value))) if indented && !trimmed.starts_with('#') => {
                // A document keeps its lines, so that what is wrong in it has one.
                value.push(if *key == DEFINITIONS { '\n' } else { ' ' });
                value.push_str(trimmed);
            }
            (Some((key, value)), _) if is_key(key) => lines.push((number, key, value.to_owned())),
            _ if trimmed.starts_with('#') => {}
            _ => break,
        }
        at += line.len();
        number += 1;
    }
    Ok((collect(lines)?, &text[at..], number))
}

fn collect(lines: Vec<(usize, &str, String)>) -> Read<Head> {
    let mut head = Head::default();
    let mut has_level = false;
    for (line, key, value) in lines {
        let wrong = |reason: String| Wrong { line, reason };
        if value.is_empty() {
            return Err(wrong(format!("'{key}:' says nothing")));
        }
        match key {
            "title" if head.title.is_empty() => head.title = value,
            "source" if head.source.is_empty() => head.source = value,
            "level" if !has_level => {
                (head.level, head.about) = Level::read(&value).map_err(wrong)?;
                has_level = true;
            }
            DEFINITIONS if head.definitions.is_none() => {
                head.definitions = Some(Definitions::read(&value, line)?);
                head.definitions_line = line;
            }
            "title" | "source" | "level" | DEFINITIONS => {
                return Err(wrong(format!("'{key}:' is there twice")));
            }
            "needs" => {
                for need in value.split([',', ' ']).filter(|need| !need.is_empty()) {
                    if !NEEDS.contains(&need) {
                        return Err(wrong(format!("'{need}' is not one of {}", NEEDS.join(", "))));
                    }
                    head.needs.push(need.to_owned());
                }
            }
            "also" if value == ONE_BY_ONE => head.one_by_one = true,
            "also" => return Err(wrong(format!("'{value}' is not {ONE_BY_ONE}"))),
            "differs" => head.differs.push(differs(&value).ok_or_else(|| {
                wrong(
                    "'differs:' wants a broker, its version and a reason: rabbitmq 4.3 does ..., which ..."
                        .into(),
                )
            })?),
            _ => return Err(wrong(format!("'{key}:' is not one of {}", KEYS.join(", ")))),
        }
    }
    let said = [("title", !head.title.is_empty()), ("source", !head.source.is_empty()), ("level", has_level)];
    for (key, is_said) in said {
        if !is_said {
            return Err(Wrong { line: 1, reason: format!("the head has no '{key}:'") });
        }
    }
    Ok(head)
}

fn differs(value: &str) -> Option<Differs> {
    let mut words = value.splitn(3, ' ');
    let (broker, version, reason) = (words.next()?, words.next()?, words.next()?.trim());
    let numbered = version.starts_with(|c: char| c.is_ascii_digit());
    (numbered && !reason.is_empty()).then(|| Differs {
        broker: broker.to_ascii_lowercase(),
        version: version.into(),
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title: t\nsource: s\nlevel: rabbitmq\n";

    #[test]
    fn a_head_says_what_it_holds_a_broker_to() {
        let level = |said: &str| {
            let head = read(&format!("title: t\nsource: s\nlevel: {said}\n"))?.0;
            Ok::<_, Wrong>((head.level, head.about))
        };
        let rule = "basic.ack (rule: exists), section 4.5";
        assert_eq!(
            level(&format!("specification, {rule}")).unwrap(),
            (Level::Specification, rule.to_owned())
        );
        assert_eq!(level("rabbitmq").unwrap(), (Level::Rabbitmq, String::new()));
        assert_eq!(level("rabbitmq, its words").unwrap(), (Level::Rabbitmq, "its words".to_owned()));
        for (bad, reason) in [
            ("specification", "what it is about"),
            ("specification,", "what it is about"),
            ("amqp", "'amqp' is no level; there is specification or rabbitmq"),
        ] {
            let wrong = level(bad).unwrap_err();
            assert!(wrong.line == 3 && wrong.reason.contains(reason), "{bad}: {wrong:?}");
        }
    }

    #[test]
    fn a_head_ends_where_the_steps_begin() {
        let text = "# note\ntitle: A thing\nsource: spec 1,\n  and 2\nlevel: rabbitmq\nneeds: streams, alone\n\nopen a\n";
        let (head, body, line) = read(text).unwrap();
        assert_eq!((head.title.as_str(), head.source.as_str()), ("A thing", "spec 1, and 2"));
        assert_eq!(head.needs, ["streams", "alone"]);
        assert_eq!((body, line), ("\nopen a\n", 7));
    }

    #[test]
    fn a_script_may_be_played_a_second_time() {
        assert!(read(&format!("{HEAD}also: one-by-one\n")).unwrap().0.one_by_one);
        assert!(!read(HEAD).unwrap().0.one_by_one);
        assert_eq!(read(&format!("{HEAD}also: backwards\n")).unwrap_err().line, 4);
    }

    #[test]
    fn what_differs_names_broker_version_and_reason() {
        let (head, ..) = read(&format!("{HEAD}differs: rabbitmq 4.3 closes; we do not\n")).unwrap();
        assert_eq!((head.differs[0].broker.as_str(), head.differs[0].version.as_str()), ("rabbitmq", "4.3"));
        for bad in ["rabbitmq", "rabbitmq 4.3", "rabbitmq closes the connection"] {
            assert_eq!(read(&format!("{HEAD}differs: {bad}\n")).unwrap_err().line, 4, "{bad}");
        }
    }
}

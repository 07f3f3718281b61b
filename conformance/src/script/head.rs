//! The head of a script: `key: value` lines before the first step. An indented line goes on with the value above.

use crate::script::cursor::{Read, Wrong};
use crate::script::definitions::Definitions;
use crate::script::{Differs, Head};

/// What a script may need, as [`Head::needs`] names it. `alone` is about the runner, the rest about the broker.
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

const KEYS: &[&str] = &["title", "source", "needs", "also", "differs", "definitions"];

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
    for (line, key, value) in lines {
        let wrong = |reason: String| Wrong { line, reason };
        if value.is_empty() {
            return Err(wrong(format!("'{key}:' says nothing")));
        }
        match key {
            "title" if head.title.is_empty() => head.title = value,
            "source" if head.source.is_empty() => head.source = value,
            DEFINITIONS if head.definitions.is_none() => {
                head.definitions = Some(Definitions::read(&value, line)?);
                head.definitions_line = line;
            }
            "title" | "source" | DEFINITIONS => return Err(wrong(format!("'{key}:' is there twice"))),
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
    for (key, value) in [("title", &head.title), ("source", &head.source)] {
        if value.is_empty() {
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

    #[test]
    fn a_head_ends_where_the_steps_begin() {
        let text = "# note\ntitle: A thing\nsource: spec 1,\n  and 2\nneeds: streams, alone\n\nopen a\n";
        let (head, body, line) = read(text).unwrap();
        assert_eq!((head.title.as_str(), head.source.as_str()), ("A thing", "spec 1, and 2"));
        assert_eq!(head.needs, ["streams", "alone"]);
        assert_eq!((body, line), ("\nopen a\n", 6));
    }

    #[test]
    fn a_script_may_be_played_a_second_time() {
        assert!(read("title: t\nsource: s\nalso: one-by-one\n").unwrap().0.one_by_one);
        assert!(!read("title: t\nsource: s\n").unwrap().0.one_by_one);
        assert_eq!(read("title: t\nsource: s\nalso: backwards\n").unwrap_err().line, 3);
    }

    #[test]
    fn what_differs_names_broker_version_and_reason() {
        let (head, ..) = read("title: t\nsource: s\ndiffers: rabbitmq 4.3 closes; we do not\n").unwrap();
        assert_eq!((head.differs[0].broker.as_str(), head.differs[0].version.as_str()), ("rabbitmq", "4.3"));
        for bad in ["rabbitmq", "rabbitmq 4.3", "rabbitmq closes the connection"] {
            assert_eq!(read(&format!("title: t\nsource: s\ndiffers: {bad}\n")).unwrap_err().line, 3, "{bad}");
        }
    }
}

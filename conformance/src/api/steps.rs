//! What is asked, read from its text: a line for each step.

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A request of the API.
    Request {
        /// The line, by which its answer is found.
        line: String,
        /// User and password; none for nobody.
        user: Option<(String, String)>,
        /// The method.
        method: String,
        /// The path and query.
        path: String,
        /// The body.
        body: Option<String>,
        /// It is asked again until the answer has this word.
        until: Option<String>,
    },
    /// A connection to a vhost is opened.
    Open(String),
    /// Its channel consumes a queue: the tag, and how many messages at a time.
    Consume(String, String, u16),
    /// It publishes to an exchange with a key, so many messages.
    Publish(String, String, u32),
}

/// All steps of a text.
///
/// # Errors
/// The line that is none.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| step(line).ok_or_else(|| format!("not a step: {line}"))).collect()
}

fn step(line: &str) -> Option<Step> {
    if let Some(said) = line.strip_prefix("amqp ") {
        let words: Vec<&str> = said.split(' ').collect();
        return match words.as_slice() {
            ["open", vhost] => Some(Step::Open((*vhost).to_owned())),
            ["consume", queue, tag, prefetch] => {
                Some(Step::Consume((*queue).to_owned(), (*tag).to_owned(), prefetch.parse().ok()?))
            }
            ["publish", exchange, key, count] => {
                Some(Step::Publish((*exchange).to_owned(), (*key).to_owned(), count.parse().ok()?))
            }
            _ => None,
        };
    }
    let (until, rest) = match line.strip_prefix("until \"") {
        Some(rest) => {
            let (word, rest) = rest.split_once("\" ")?;
            (Some(word.replace('\\', "")), rest)
        }
        None => (None, line),
    };
    let (user, rest) = match rest.strip_prefix("as ") {
        Some(rest) => {
            let (who, rest) = rest.split_once(' ')?;
            let user = who.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()));
            (user, rest)
        }
        None => (Some(("guest".to_owned(), "guest".to_owned())), rest),
    };
    let mut words = rest.splitn(3, ' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let body = words.next().map(str::trim).filter(|body| !body.is_empty()).map(str::to_owned);
    path.starts_with('/').then(|| Step::Request { line: line.to_owned(), user, method, path, body, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_are_read() {
        assert!(parse(crate::api::STEPS).unwrap().len() > 300);
        let read = parse("# no\nuntil \"a\" as x:y PUT /b {\"c\": 1}\namqp consume q t 3\n").unwrap();
        let Step::Request { user, method, path, body, until, .. } = &read[0] else { panic!("{read:?}") };
        assert_eq!((user.as_ref().unwrap().0.as_str(), method.as_str(), path.as_str()), ("x", "PUT", "/b"));
        assert_eq!((body.as_deref(), until.as_deref()), (Some("{\"c\": 1}"), Some("a")));
        assert_eq!(read[1], Step::Consume("q".to_owned(), "t".to_owned(), 3));
        assert!(parse("GET nowhere").is_err() && parse("amqp dance").is_err());
    }
}

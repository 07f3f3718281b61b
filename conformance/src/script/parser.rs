//! Steps, one a line, and blocks of steps between braces.

use crate::run::restart::Ending;
use crate::script::condition::Condition;
use crate::script::cursor::{Cursor, Read};
use crate::script::expr::{Expr, Piece, byte_items, expr, method_named, primary, variable};
use crate::script::fields;
use crate::script::{Action, Address, Expectation, Expected, Sent, Step};
use std::time::Duration;

/// Words that begin a step, and so cannot name a connection.
const WORDS: &[&str] = &[
    "open",
    "connect",
    "close",
    "drop",
    "nothing",
    "no-heartbeat",
    "sync",
    "ignore",
    "pause",
    "resume",
    "wait",
    "within",
    "operator",
    "restart",
    "unique",
    "let",
    "any-order",
    "in-order",
    "one-of",
    "repeat",
    "when",
    "otherwise",
];

/// All steps of `body`, whose first line has the number `line`.
pub(crate) fn steps(body: &str, line: usize) -> Read<Vec<Step>> {
    let mut cursor = Cursor::new(body, line);
    let steps = block(&mut cursor)?;
    if cursor.peek() == Some(b'}') {
        return Err(cursor.wrong("'}' closes no block"));
    }
    if steps.is_empty() {
        return Err(cursor.wrong("the script does nothing"));
    }
    Ok(steps)
}

fn block(cursor: &mut Cursor<'_>) -> Read<Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        cursor.skip_blank();
        if matches!(cursor.peek(), None | Some(b'}')) {
            return Ok(steps);
        }
        let start = *cursor;
        let action = action(cursor)?;
        let written = cursor.since(&start);
        let shown = match action {
            Action::AnyOrder(_)
            | Action::InOrder(_)
            | Action::OneOf(_)
            | Action::Repeat { .. }
            | Action::When { .. } => written.lines().next().unwrap_or_default(),
            _ => written,
        };
        steps.push(Step { line: start.line(), text: shown.trim_end().to_owned(), action });
        cursor.skip_spaces();
        if !cursor.at_line_end() && cursor.peek() != Some(b'}') {
            return Err(cursor.wrong(format!("the step should end here{}", cursor.found())));
        }
    }
}

/// A block with its braces.
fn braces(cursor: &mut Cursor<'_>) -> Read<Vec<Step>> {
    cursor.skip_spaces();
    let open = *cursor;
    cursor.expect("{")?;
    let steps = block(cursor)?;
    if !cursor.eat("}") {
        return Err(open.wrong("this block is never closed"));
    }
    if steps.is_empty() {
        return Err(open.wrong("this block is empty"));
    }
    Ok(steps)
}

fn action(cursor: &mut Cursor<'_>) -> Read<Action> {
    let word = cursor.peek_name();
    if !WORDS.contains(&word) {
        return exchange(cursor, None);
    }
    let start = *cursor;
    cursor.eat(word);
    cursor.skip_spaces();
    Ok(match word {
        "open" => {
            let at = address(cursor)?;
            Action::Open(at, fields::list(cursor, "open", fields::OPEN)?)
        }
        "connect" => Action::Connect(connection(cursor)?),
        "close" => Action::Close(address(cursor)?),
        "drop" => Action::Drop(connection(cursor)?),
        "nothing" => {
            let at = address(cursor)?;
            cursor.skip_spaces();
            let during = if cursor.at_line_end() { None } else { Some(duration(cursor)?) };
            Action::Nothing(at, during)
        }
        "no-heartbeat" => {
            let name = connection(cursor)?;
            cursor.skip_spaces();
            Action::NoHeartbeat(name, duration(cursor)?)
        }
        "sync" => {
            let at = address(cursor)?;
            if at.channel.is_none() {
                return Err(start.wrong("'sync' wants a channel: sync a.1"));
            }
            Action::Sync(at)
        }
        "ignore" => Action::Ignore(address(cursor)?),
        "pause" => Action::Pause(connection(cursor)?),
        "resume" => Action::Resume(connection(cursor)?),
        "wait" => Action::Wait(duration(cursor)?),
        "within" => {
            let limit = duration(cursor)?;
            cursor.skip_spaces();
            exchange(cursor, Some(limit))?
        }
        "operator" => operator(cursor)?,
        "restart" => Action::Restart(ending(cursor)?),
        "unique" => unique(cursor)?,
        "let" => {
            cursor.eat("$");
            let name = variable(cursor)?.to_owned();
            cursor.skip_spaces();
            cursor.expect("=")?;
            cursor.skip_spaces();
            Action::Let(name, expr(cursor)?)
        }
        "any-order" => Action::AnyOrder(braces(cursor)?),
        "in-order" => Action::InOrder(braces(cursor)?),
        "one-of" => Action::OneOf(braces(cursor)?),
        "repeat" => repeat(cursor)?,
        "when" => when(cursor)?,
        _ => return Err(start.wrong("'otherwise' follows a 'when' block")),
    })
}

fn unique(cursor: &mut Cursor<'_>) -> Read<Action> {
    let mut names = Vec::new();
    while !cursor.at_line_end() {
        cursor.eat("$");
        let name = variable(cursor)?.to_owned();
        let mut len = None;
        if cursor.eat("(") {
            let digits = cursor.take_while(|byte| byte.is_ascii_digit());
            len =
                Some(digits.parse().map_err(|why| cursor.wrong(format!("'{digits}' is no length: {why}")))?);
            cursor.expect(")")?;
        }
        names.push((name, len));
        cursor.skip_spaces();
    }
    if names.is_empty() {
        return Err(cursor.wrong("'unique' wants the names of variables: unique q x"));
    }
    Ok(Action::Unique(names))
}

/// A command for the operator: words as they are, texts in quotes, variables.
fn operator(cursor: &mut Cursor<'_>) -> Read<Action> {
    let mut words = Vec::new();
    while !cursor.at_line_end() {
        words.push(match cursor.peek() {
            Some(b'"' | b'$') => primary(cursor)?,
            _ => Expr::Text(vec![Piece::Plain(cursor.name("a word of a command")?.as_bytes().to_vec())]),
        });
        cursor.skip_spaces();
    }
    if !matches!(words.first(), Some(Expr::Text(_))) {
        return Err(cursor.wrong("'operator' wants a command: operator delete_user $reader"));
    }
    Ok(Action::Operator(words))
}

/// How the broker is ended: in order, unless it says otherwise.
fn ending(cursor: &mut Cursor<'_>) -> Read<Ending> {
    if cursor.at_line_end() {
        return Ok(Ending::Stop);
    }
    let word = cursor.peek_name();
    let known = [Ending::Stop, Ending::Kill].into_iter().find(|ending| ending.word() == word);
    let ending = known.ok_or_else(|| cursor.wrong("'restart' is alone, or followed by 'stop' or 'kill'"))?;
    cursor.eat(word);
    Ok(ending)
}

fn repeat(cursor: &mut Cursor<'_>) -> Read<Action> {
    let times = expr(cursor)?;
    cursor.skip_spaces();
    let mut counter = "i".to_owned();
    if cursor.eat_word("as") {
        cursor.skip_spaces();
        cursor.eat("$");
        variable(cursor)?.clone_into(&mut counter);
    }
    Ok(Action::Repeat { times, counter, steps: braces(cursor)? })
}

fn when(cursor: &mut Cursor<'_>) -> Read<Action> {
    let mut arms = Vec::new();
    loop {
        cursor.skip_spaces();
        let condition = Condition::read(cursor)?;
        arms.push((condition, braces(cursor)?));
        let mut ahead = *cursor;
        ahead.skip_blank();
        if ahead.eat_word("when") {
            *cursor = ahead;
        } else if ahead.eat_word("otherwise") {
            *cursor = ahead;
            return Ok(Action::When { arms, otherwise: braces(cursor)? });
        } else {
            return Ok(Action::When { arms, otherwise: Vec::new() });
        }
    }
}

fn connection(cursor: &mut Cursor<'_>) -> Read<String> {
    let start = *cursor;
    let at = address(cursor)?;
    if at.channel.is_some() {
        return Err(start.wrong("a connection is named here, not a channel"));
    }
    Ok(at.connection)
}

fn address(cursor: &mut Cursor<'_>) -> Read<Address> {
    let start = *cursor;
    let name = cursor.name("a connection (a) or a channel (a.1)")?;
    let (connection, channel) = match name.split_once('.') {
        None => (name, None),
        Some((connection, number)) => {
            let number = number
                .parse()
                .map_err(|_bad| start.wrong(format!("'{number}' is no channel: 0 to 65535")))?;
            (connection, Some(number))
        }
    };
    if WORDS.contains(&connection) || !connection.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(start.wrong(format!("'{connection}' cannot name a connection")));
    }
    Ok(Address { connection: connection.to_owned(), channel })
}

fn duration(cursor: &mut Cursor<'_>) -> Read<Duration> {
    let start = *cursor;
    let word = cursor.name("a time such as 100ms or 2s")?;
    let parsed = if let Some(ms) = word.strip_suffix("ms") {
        ms.parse().map(Duration::from_millis)
    } else {
        word.strip_suffix('s').unwrap_or("").parse().map(Duration::from_secs)
    };
    parsed.map_err(|_bad| start.wrong(format!("'{word}' is no time; write 100ms or 2s")))
}

/// `a.1 > ...` or `a.1 < ...`
fn exchange(cursor: &mut Cursor<'_>, within: Option<Duration>) -> Read<Action> {
    let start = *cursor;
    let name = cursor.peek_name();
    let at = address(cursor)?;
    cursor.skip_spaces();
    if cursor.eat(">") {
        if within.is_some() {
            return Err(start.wrong("'within' is for what is expected"));
        }
        cursor.skip_spaces();
        return Ok(Action::Send(at, sent(cursor)?));
    }
    if cursor.eat("<") {
        cursor.skip_spaces();
        return Ok(Action::Expect(Expectation { at, what: expected(cursor)?, within }));
    }
    Err(start
        .wrong(format!("'{name}' is not a step; what is sent is 'a.1 > ...', what is expected 'a.1 < ...'")))
}

fn sent(cursor: &mut Cursor<'_>) -> Read<Sent> {
    let word = cursor.peek_name();
    Ok(match word {
        "method" => {
            cursor.eat(word);
            cursor.skip_spaces();
            let spec = method_named(cursor)?;
            Sent::MethodFrame(fields::call(cursor, spec, false)?)
        }
        "header" => {
            cursor.eat(word);
            Sent::Header(fields::header(cursor)?)
        }
        "body" => {
            cursor.eat(word);
            cursor.skip_spaces();
            Sent::Body(expr(cursor)?)
        }
        "heartbeat" => {
            cursor.eat(word);
            Sent::Heartbeat
        }
        "protocol-header" => {
            cursor.eat(word);
            Sent::ProtocolHeader
        }
        "raw" => {
            cursor.eat(word);
            Sent::Raw(byte_items(cursor, false)?)
        }
        "frame" => {
            cursor.eat(word);
            Sent::Frame(fields::list(cursor, "frame", fields::FRAME)?)
        }
        _ => {
            let spec = method_named(cursor)?;
            Sent::Method(fields::call(cursor, spec, true)?)
        }
    })
}

fn expected(cursor: &mut Cursor<'_>) -> Read<Expected> {
    let word = cursor.peek_name();
    Ok(match word {
        "method" => {
            cursor.eat(word);
            cursor.skip_spaces();
            let spec = method_named(cursor)?;
            Expected::MethodFrame(fields::call(cursor, spec, false)?)
        }
        "header" => {
            cursor.eat(word);
            Expected::Header(fields::header(cursor)?)
        }
        "body" => {
            cursor.eat(word);
            cursor.skip_spaces();
            Expected::Body(if cursor.at_line_end() { Expr::Any(None) } else { expr(cursor)? })
        }
        "heartbeat" => {
            cursor.eat(word);
            Expected::Heartbeat
        }
        "raw" => {
            cursor.eat(word);
            Expected::Raw(byte_items(cursor, false)?)
        }
        "protocol-header" => {
            cursor.eat(word);
            let header = crate::protocol::frame::PROTOCOL_HEADER.to_vec();
            Expected::Raw(vec![crate::script::expr::ByteItem::Plain(header)])
        }
        "eof" => {
            cursor.eat(word);
            Expected::Eof
        }
        "acks" => {
            cursor.eat(word);
            cursor.skip_spaces();
            let from = expr(cursor)?;
            let to = if cursor.eat("..") { expr(cursor)? } else { from.clone() };
            Expected::Acks(from, to)
        }
        _ => {
            let spec = method_named(cursor)?;
            Expected::Method(fields::call(cursor, spec, true)?)
        }
    })
}

//! A place in a script's text, with its line number.

/// What is wrong with a script, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// From 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) reason: String,
}

/// A step's outcome while a script is read.
pub(crate) type Read<T> = Result<T, Wrong>;

/// A position in a script's text, with its line number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

/// A letter of a method's or field's name.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

impl<'a> Cursor<'a> {
    /// At the start of `text`, whose first line has the number `line`.
    pub(crate) fn new(text: &'a str, line: usize) -> Self {
        Self { text, at: 0, line }
    }

    /// The line's number, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// What is wrong here.
    pub(crate) fn wrong(&self, reason: impl Into<String>) -> Wrong {
        Wrong { line: self.line, reason: reason.into() }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The text from `start`, a copy of this cursor made before, to here.
    pub(crate) fn since(&self, start: &Self) -> &'a str {
        &self.text[start.at..self.at]
    }

    /// The next byte.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest().as_bytes().first().copied()
    }

    /// The byte after the next.
    pub(crate) fn peek_second(&self) -> Option<u8> {
        self.rest().as_bytes().get(1).copied()
    }

    /// Goes over one byte.
    pub(crate) fn advance(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at = (self.at + 1).min(self.text.len());
    }

    /// Goes over `word` if it is next.
    pub(crate) fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            for _ in 0..word.len() {
                self.advance();
            }
        }
        found
    }

    /// Goes over `word`, which must be next.
    pub(crate) fn expect(&mut self, word: &str) -> Read<()> {
        if self.eat(word) { Ok(()) } else { Err(self.wrong(format!("'{word}' expected{}", self.found()))) }
    }

    /// Goes over `word` if it is next and ends there.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        self.peek_name() == word && self.eat(word)
    }

    /// ", 'x' found".
    pub(crate) fn found(&self) -> String {
        let line = self.rest().lines().next().unwrap_or_default().trim();
        let shown: String = line.chars().take(30).collect();
        if shown.is_empty() { ", but the line ends".into() } else { format!(", but '{shown}' is there") }
    }

    /// The name that is next; empty if there is none.
    pub(crate) fn peek_name(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len())]
    }

    /// Goes over the name that is next, for `what`.
    pub(crate) fn name(&mut self, what: &str) -> Read<&'a str> {
        let name = self.peek_name();
        if name.is_empty() {
            return Err(self.wrong(format!("{what} expected{}", self.found())));
        }
        self.at += name.len();
        Ok(name)
    }

    /// Goes over the bytes for which `holds`.
    pub(crate) fn take_while(&mut self, holds: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().position(|byte| !holds(byte)).unwrap_or(rest.len());
        for _ in 0..len {
            self.advance();
        }
        &rest[..len]
    }

    /// Goes over spaces, not over the end of the line.
    pub(crate) fn skip_spaces(&mut self) {
        self.take_while(|byte| byte == b' ' || byte == b'\t' || byte == b'\r');
    }

    /// Goes over spaces, ends of lines and comments.
    pub(crate) fn skip_blank(&mut self) {
        loop {
            self.take_while(|byte| byte.is_ascii_whitespace());
            if self.peek() != Some(b'#') {
                return;
            }
            self.take_while(|byte| byte != b'\n');
        }
    }

    /// Whether nothing but a comment is left in this line.
    pub(crate) fn at_line_end(&self) -> bool {
        matches!(self.peek(), None | Some(b'\n' | b'#'))
    }

    /// The next line with anything in it, if it goes on with fields of the step above.
    pub(crate) fn skip_to_continuation(&mut self) -> bool {
        let mut ahead = *self;
        ahead.skip_blank();
        let name = ahead.peek_name();
        let after = &ahead.rest()[name.len()..];
        let goes_on = ahead.line > self.line
            && !name.is_empty()
            && ["=", "~", "!=", ">=", "<="].iter().any(|sign| after.starts_with(sign));
        if goes_on {
            *self = ahead;
        }
        goes_on
    }
}

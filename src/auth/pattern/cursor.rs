//! Where the reader of a pattern is, what the pattern's options are there, and what a backslash
//! stands for.

use super::class::{Set, called, property};

/// Options that are in effect, as `(?imsx)` sets them up to the end of a group: a plain
/// record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// `i`: a letter stands for both cases.
    pub(super) caseless: bool,
    /// `m`: `^` and `$` are found at every line.
    pub(super) multi_line: bool,
    /// `s`: a dot takes a newline, too.
    pub(super) dot_all: bool,
    /// `x`: spaces and comments mean nothing.
    pub(super) extended: bool,
    /// `xx`: nor do spaces in a class.
    pub(super) spaces: bool,
    /// `U`: a quantifier takes as little as it can.
    pub(super) ungreedy: bool,
    /// `n`: a group without a name is not captured.
    pub(super) uncaptured: bool,
}

/// A pattern that is being read.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether it is between `\Q` and `\E`.
    pub(super) quoted: bool,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a pattern.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, quoted: false }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// The next byte.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Moves on.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Moves behind `expected` if that is next.
    pub(super) fn eat(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        self.skip(if found { expected.len() } else { 0 });
        found
    }

    /// The next bytes that `wanted` takes.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
        self.skip(len);
        &rest[..len]
    }

    /// What there is up to `end`, and moves behind that; none if it is not there.
    pub(super) fn take_until(&mut self, end: u8) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.iter().position(|&byte| byte == end)?;
        self.skip(len + 1);
        str::from_utf8(&rest[..len]).ok()
    }

    /// What was read from here to where `later` is.
    pub(super) fn up_to(&self, later: &Self) -> &'a str {
        str::from_utf8(&self.bytes[self.at..later.at]).unwrap_or_default()
    }

    /// A whole number, if one is next; the largest there is, if it is larger.
    pub(super) fn number(&mut self) -> Option<usize> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let digit = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        (!digits.is_empty()).then(|| digits.iter().fold(0, digit))
    }

    /// The least and the most of `{n}`, `{n,}`, `{n,m}` or `{,m}`, and moves behind it; none if the
    /// brace, which is read already, stands for itself.
    pub(super) fn braces(&mut self) -> Option<(usize, Option<usize>)> {
        let start = self.at;
        let found = self.bounds();
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn bounds(&mut self) -> Option<(usize, Option<usize>)> {
        let mut blank_number = || {
            self.take_while(is_blank);
            let number = self.number();
            self.take_while(is_blank);
            number
        };
        let least = blank_number();
        if self.eat(b"}") {
            return least.map(|least| (least, Some(least)));
        }
        let comma = self.eat(b",");
        self.take_while(is_blank);
        let most = self.number();
        self.take_while(is_blank);
        let bounded = least.is_some() || most.is_some();
        (comma && bounded && self.eat(b"}")).then(|| (least.unwrap_or(0), most))
    }

    /// The name in `[:name:]`, `[.name.]` or `[=name=]`, whose first `[` is read already; none if
    /// that stands for itself.
    pub(super) fn posix(&self) -> Option<&'a [u8]> {
        let (&kind, name) = self.rest().split_first()?;
        if !matches!(kind, b':' | b'.' | b'=') {
            return None;
        }
        let mut at = 0;
        while let [byte, next, ..] = name[at..] {
            match (byte, next) {
                (b'\\', b']' | b'\\') => at += 1,
                (b']', _) => return None,
                (b'[', next) if next == kind => return None,
                (byte, b']') if byte == kind => return Some(&name[..at]),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Moves behind comments, and behind spaces where they mean nothing.
    pub(super) fn skip_ignored(&mut self, flags: Flags) {
        loop {
            let start = self.at;
            let comment =
                self.rest().strip_prefix(b"(?#").and_then(|rest| rest.iter().position(|&byte| byte == b')'));
            self.skip(comment.map_or(0, |len| "(?#)".len() + len));
            if flags.extended {
                self.take_while(is_ignored);
                if self.eat(b"#") {
                    self.take_while(|byte| byte != b'\n');
                }
            }
            if self.at == start {
                return;
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether a byte means nothing under `(?x)`.
fn is_ignored(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ' | 0x85)
}

/// What a backslash and what follows it stand for.
pub(super) enum Escape {
    Byte(u8),
    Set(Set),
    /// Something that depends on where it is.
    Letter(u8),
}

/// Reads what follows a backslash. Digits other than those of a byte in octal are for the caller to
/// read, outside of a class.
///
/// # Errors
/// In PCRE2's words, that it means nothing.
pub(super) fn escape(cursor: &mut Cursor<'_>, flags: Flags, in_class: bool) -> Result<Escape, String> {
    let letter = cursor.next().ok_or("\\ at end of pattern")?;
    if let Some(set) = called(letter) {
        return Ok(Escape::Set(set));
    }
    let byte = match letter {
        b'0' => return octal(cursor, 0, 2),
        b'1'..=b'7' if in_class => return octal(cursor, u32::from(letter - b'0'), 2),
        b'a' => 7,
        b'e' => 27,
        b'f' => 12,
        b'n' => 10,
        b'r' => 13,
        b't' => 9,
        b'c' => control(cursor)?,
        b'o' => braced(cursor, 8)?.ok_or("missing opening brace after \\o")?,
        b'x' => match braced(cursor, 16)? {
            Some(byte) => byte,
            None => hexadecimal(cursor)?,
        },
        b'p' | b'P' => return named_property(cursor, flags, letter == b'P').map(Escape::Set),
        b'F' | b'L' | b'l' | b'U' | b'u' => return Err(format!("\\{} is not supported", char::from(letter))),
        b'I' | b'J' | b'M' | b'O' | b'T' | b'Y' | b'i' | b'j' | b'm' | b'q' | b'y' => {
            return Err("unrecognized character follows \\".to_owned());
        }
        b'8' | b'9' if in_class => letter,
        letter if letter.is_ascii_alphanumeric() => return Ok(Escape::Letter(letter)),
        other => other,
    };
    Ok(Escape::Byte(byte))
}

/// A byte in octal, of which `value` is read already and `more` digits may follow.
///
/// # Errors
/// It is no byte.
pub(super) fn octal(cursor: &mut Cursor<'_>, mut value: u32, more: usize) -> Result<Escape, String> {
    for _ in 0..more {
        let Some(digit @ b'0'..=b'7') = cursor.peek() else { break };
        cursor.skip(1);
        value = value * 8 + u32::from(digit - b'0');
    }
    let byte = u8::try_from(value).map_err(|_large| "octal value is greater than \\377".to_owned())?;
    Ok(Escape::Byte(byte))
}

fn hexadecimal(cursor: &mut Cursor<'_>) -> Result<u8, String> {
    let mut digit = || {
        let digit = cursor.peek().and_then(|digit| char::from(digit).to_digit(16))?;
        cursor.skip(1);
        u8::try_from(digit).ok()
    };
    let first = digit().ok_or("digits missing after \\x")?;
    Ok(digit().map_or(first, |second| first * 16 + second))
}

/// The byte in `{..}`, if that is what follows.
fn braced(cursor: &mut Cursor<'_>, radix: u32) -> Result<Option<u8>, String> {
    if !cursor.eat(b"{") {
        return Ok(None);
    }
    let number = cursor.take_until(b'}').map(str::trim).ok_or("missing } of \\x{} or \\o{}")?;
    let value = u32::from_str_radix(number, radix)
        .map_err(|_none| format!("'{number}' is no number in \\x{{}} or \\o{{}}"))?;
    let byte = u8::try_from(value);
    byte.map(Some).map_err(|_large| "character code point value in \\x{} or \\o{} is too large".to_owned())
}

fn control(cursor: &mut Cursor<'_>) -> Result<u8, String> {
    match cursor.next() {
        None => Err("\\c at end of pattern".to_owned()),
        Some(byte @ b' '..=b'~') => Ok(byte.to_ascii_uppercase() ^ 0x40),
        Some(_) => Err("\\c must be followed by a printable ASCII character".to_owned()),
    }
}

fn named_property(cursor: &mut Cursor<'_>, flags: Flags, negated: bool) -> Result<Set, String> {
    let malformed = "malformed \\P or \\p sequence";
    let set = if cursor.eat(b"{") {
        property(cursor.take_until(b'}').ok_or(malformed)?.trim(), flags)?
    } else {
        let letter = cursor.next().filter(u8::is_ascii_alphabetic).ok_or(malformed)?;
        property(&char::from(letter).to_string(), flags)?
    };
    Ok(if negated { set.negated() } else { set })
}

//! Sets of bytes, and what PCRE2 calls them: `[...]`, `\d` and its like, POSIX names, general
//! categories.
//!
//! RabbitMQ's Erlang matches bytes, not characters. A letter, a digit and a space are ASCII's, but
//! `\h`, `\v` and `\p{..}` take a byte above 127 for the Latin-1 character of that number.

use super::cursor::{Cursor, Escape, Flags, escape};
use std::fmt::Write;

/// Which of the 256 bytes are meant: a bit for each.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Set([u128; 2]);

impl Set {
    /// The bytes of these ranges.
    pub(super) fn of(ranges: &[(u8, u8)]) -> Self {
        let mut set = Self([0; 2]);
        ranges.iter().for_each(|&(first, last)| set.add(first, last));
        set
    }

    /// This byte; with both cases of a letter, if it is one and case does not matter.
    pub(super) fn byte(byte: u8, flags: Flags) -> Self {
        let set = Self::of(&[(byte, byte)]);
        if flags.caseless { set.in_both_cases() } else { set }
    }

    /// All other bytes.
    pub(super) fn negated(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 7)] >> (byte & 127) & 1 == 1
    }

    fn add(&mut self, first: u8, last: u8) {
        (first..=last).for_each(|byte| self.0[usize::from(byte >> 7)] |= 1 << (byte & 127));
    }

    fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(bits, too)| *bits |= too);
    }

    fn in_both_cases(mut self) -> Self {
        for (small, capital) in (b'a'..=b'z').zip(b'A'..=b'Z') {
            if self.has(small) || self.has(capital) {
                self.add(small, small);
                self.add(capital, capital);
            }
        }
        self
    }

    /// Writes it as a class that every engine reads alike.
    pub(super) fn spell(&self, out: &mut String) {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in (0..=255).filter(|&byte| self.has(byte)) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == byte => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        // Writing to a String does not fail.
        let _always = match ranges[..] {
            [] => write!(out, "[^\\x00-\\xff]"),
            [(first, last)] if first == last => write!(out, "\\x{first:02x}"),
            _ => {
                out.push('[');
                let range = |(first, last)| write!(out, "\\x{first:02x}-\\x{last:02x}");
                ranges.into_iter().try_for_each(range).and_then(|()| write!(out, "]"))
            }
        };
    }
}

/// What a class is made of.
enum Item {
    /// A byte, which may begin or end a range, and whether it is a bare hyphen.
    Byte(u8, bool),
    Set(Set),
}

/// Reads a class; its `[` is read already.
///
/// A hyphen that has a set beside it stands for itself. That is so up to PCRE 8, which RabbitMQ had
/// until Erlang 28; PCRE2 refuses such a class, but patterns like `^[\w-.]+$` are in many exports.
///
/// # Errors
/// What is wrong with it, in PCRE2's words.
pub(super) fn class(cursor: &mut Cursor<'_>, flags: Flags) -> Result<Set, String> {
    let negated = cursor.eat(b"^");
    let mut set = Set::of(&[]);
    let mut is_first = true;
    let mut before: Option<u8> = None;
    while let Some(item) = item(cursor, flags, &mut is_first)? {
        match item {
            Item::Byte(_, true) if before.is_some() => {
                let first = before.take().unwrap_or(b'-');
                match self::item(cursor, flags, &mut is_first)? {
                    None => {
                        set.add(b'-', b'-');
                        break;
                    }
                    Some(Item::Byte(last, _)) if last < first => {
                        return Err("range out of order in character class".to_owned());
                    }
                    Some(Item::Byte(last, _)) => set.add(first, last),
                    Some(Item::Set(of)) => {
                        set.add(b'-', b'-');
                        set.add_all(&of);
                    }
                }
            }
            Item::Byte(byte, _) => {
                set.add(byte, byte);
                before = Some(byte);
            }
            Item::Set(of) => {
                set.add_all(&of);
                before = None;
            }
        }
    }
    let set = if flags.caseless { set.in_both_cases() } else { set };
    Ok(if negated { set.negated() } else { set })
}

/// The next item of a class; none at its end.
fn item(cursor: &mut Cursor<'_>, flags: Flags, is_first: &mut bool) -> Result<Option<Item>, String> {
    let unclosed = || "missing terminating ] for character class".to_owned();
    loop {
        if cursor.quoted {
            if cursor.eat(b"\\E") {
                cursor.quoted = false;
                continue;
            }
            *is_first = false;
            return cursor.next().map(|byte| Some(Item::Byte(byte, false))).ok_or_else(unclosed);
        }
        if cursor.eat(b"\\E") {
            continue;
        }
        if cursor.eat(b"\\Q") {
            cursor.quoted = true;
            continue;
        }
        let byte = cursor.next().ok_or_else(unclosed)?;
        let was_first = std::mem::take(is_first);
        return match byte {
            b']' if !was_first => Ok(None),
            b' ' | b'\t' if flags.spaces => {
                *is_first = was_first;
                continue;
            }
            b'[' => match cursor.posix() {
                Some(name) => posix(name, cursor).map(|set| Some(Item::Set(set))),
                None => Ok(Some(Item::Byte(b'[', false))),
            },
            b'\\' => match escape(cursor, flags, true)? {
                Escape::Byte(byte) => Ok(Some(Item::Byte(byte, false))),
                Escape::Set(set) => Ok(Some(Item::Set(set))),
                Escape::Letter(b'b') => Ok(Some(Item::Byte(8, false))),
                Escape::Letter(letter @ (b'g' | b'k')) => Ok(Some(Item::Byte(letter, false))),
                Escape::Letter(b'N') => Err("\\N is not supported in a class".to_owned()),
                Escape::Letter(_) => Err("escape sequence is invalid in character class".to_owned()),
            },
            byte => Ok(Some(Item::Byte(byte, byte == b'-'))),
        };
    }
}

/// The bytes of `[:name:]`; moves behind it.
fn posix(name: &[u8], cursor: &mut Cursor<'_>) -> Result<Set, String> {
    if cursor.peek() != Some(b':') {
        return Err("POSIX collating elements are not supported".to_owned());
    }
    cursor.skip(name.len() + ":::]".len() - 1);
    let (negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
    let ranges: &[(u8, u8)] = match name {
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"lower" => &[(b'a', b'z')],
        b"upper" => &[(b'A', b'Z')],
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"ascii" => &[(0, 127)],
        b"blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        b"cntrl" => &[(0, 31), (127, 127)],
        b"digit" => DIGIT,
        b"graph" => &[(b'!', b'~')],
        b"print" => &[(b' ', b'~')],
        b"punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        b"space" => SPACE,
        b"word" => WORD,
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return Err("unknown POSIX class name".to_owned()),
    };
    let set = Set::of(ranges);
    Ok(if negated { set.negated() } else { set })
}

const DIGIT: &[(u8, u8)] = &[(b'0', b'9')];
/// What `\w` and `\b` take for a part of a word.
const WORD: &[(u8, u8)] = &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')];
const SPACE: &[(u8, u8)] = &[(9, 13), (b' ', b' ')];
/// With the no-break space of Latin-1.
const HORIZONTAL: &[(u8, u8)] = &[(9, 9), (b' ', b' '), (0xa0, 0xa0)];
/// With the next line of Latin-1.
const VERTICAL: &[(u8, u8)] = &[(10, 13), (0x85, 0x85)];

/// The set that is called by a letter behind a backslash, if any is.
pub(super) fn called(letter: u8) -> Option<Set> {
    let set = Set::of(match letter.to_ascii_lowercase() {
        b'd' => DIGIT,
        b'w' => WORD,
        b's' => SPACE,
        b'h' => HORIZONTAL,
        b'v' => VERTICAL,
        _ => return None,
    });
    Some(if letter.is_ascii_uppercase() { set.negated() } else { set })
}

/// The bytes of `\p{name}`, which the name may negate by a `^` before it.
///
/// # Errors
/// It is no general category.
pub(super) fn property(name: &str, flags: Flags) -> Result<Set, String> {
    let (negated, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
    let plain: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-' | '\t')).collect();
    let wanted: &[&str] = match plain.to_ascii_lowercase().as_str() {
        "any" => &["c", "l", "n", "p", "s", "z"],
        "l&" | "lc" => &["lu", "ll"],
        // Neither has a case without the other.
        "lu" | "ll" | "lt" if flags.caseless => &["lu", "ll"],
        "xan" => &["l", "n"],
        "xwd" => &["l", "n", "pc"],
        "xsp" | "xps" => {
            return Ok(negate(Set::of(&[(9, 13), (32, 32), (0x85, 0x85), (0xa0, 0xa0)]), negated));
        }
        other if GENERAL.contains(&other) => &[&plain.to_ascii_lowercase()],
        _ => return Err(format!("unknown property '{name}': general categories such as L or Lu are known")),
    };
    let mut set = Set::of(&[]);
    for &(first, last, category) in CATEGORIES {
        if wanted.iter().any(|wanted| category.starts_with(wanted)) {
            set.add(first, last);
        }
    }
    Ok(negate(set, negated))
}

fn negate(set: Set, negated: bool) -> Set {
    if negated { set.negated() } else { set }
}

/// All general categories; some have no character in Latin-1.
const GENERAL: &[&str] = &[
    "c", "cc", "cf", "cn", "co", "cs", "l", "ll", "lm", "lo", "lt", "lu", "m", "mc", "me", "mn", "n", "nd",
    "nl", "no", "p", "pc", "pd", "pe", "pf", "pi", "po", "ps", "s", "sc", "sk", "sm", "so", "z", "zl", "zp",
    "zs",
];

/// The general category of each character of Latin-1 (the Unicode Character Database:
/// UnicodeData.txt).
const CATEGORIES: &[(u8, u8, &str)] = &[
    (0x00, 0x1f, "cc"),
    (0x20, 0x20, "zs"),
    (0x21, 0x23, "po"),
    (0x24, 0x24, "sc"),
    (0x25, 0x27, "po"),
    (0x28, 0x28, "ps"),
    (0x29, 0x29, "pe"),
    (0x2a, 0x2a, "po"),
    (0x2b, 0x2b, "sm"),
    (0x2c, 0x2c, "po"),
    (0x2d, 0x2d, "pd"),
    (0x2e, 0x2f, "po"),
    (0x30, 0x39, "nd"),
    (0x3a, 0x3b, "po"),
    (0x3c, 0x3e, "sm"),
    (0x3f, 0x40, "po"),
    (0x41, 0x5a, "lu"),
    (0x5b, 0x5b, "ps"),
    (0x5c, 0x5c, "po"),
    (0x5d, 0x5d, "pe"),
    (0x5e, 0x5e, "sk"),
    (0x5f, 0x5f, "pc"),
    (0x60, 0x60, "sk"),
    (0x61, 0x7a, "ll"),
    (0x7b, 0x7b, "ps"),
    (0x7c, 0x7c, "sm"),
    (0x7d, 0x7d, "pe"),
    (0x7e, 0x7e, "sm"),
    (0x7f, 0x9f, "cc"),
    (0xa0, 0xa0, "zs"),
    (0xa1, 0xa1, "po"),
    (0xa2, 0xa5, "sc"),
    (0xa6, 0xa6, "so"),
    (0xa7, 0xa7, "po"),
    (0xa8, 0xa8, "sk"),
    (0xa9, 0xa9, "so"),
    (0xaa, 0xaa, "lo"),
    (0xab, 0xab, "pi"),
    (0xac, 0xac, "sm"),
    (0xad, 0xad, "cf"),
    (0xae, 0xae, "so"),
    (0xaf, 0xaf, "sk"),
    (0xb0, 0xb0, "so"),
    (0xb1, 0xb1, "sm"),
    (0xb2, 0xb3, "no"),
    (0xb4, 0xb4, "sk"),
    (0xb5, 0xb5, "ll"),
    (0xb6, 0xb7, "po"),
    (0xb8, 0xb8, "sk"),
    (0xb9, 0xb9, "no"),
    (0xba, 0xba, "lo"),
    (0xbb, 0xbb, "pf"),
    (0xbc, 0xbe, "no"),
    (0xbf, 0xbf, "po"),
    (0xc0, 0xd6, "lu"),
    (0xd7, 0xd7, "sm"),
    (0xd8, 0xde, "lu"),
    (0xdf, 0xf6, "ll"),
    (0xf7, 0xf7, "sm"),
    (0xf8, 0xff, "ll"),
];

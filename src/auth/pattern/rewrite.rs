//! A pattern as RabbitMQ reads it, which is PCRE2 on bytes without options (Erlang's
//! `re:run/3`), rewritten so that the crates `regex` and `fancy-regex` read it alike and find it in
//! the same names.
//!
//! What the two languages write alike and mean differently is spelled out: every byte that is no
//! letter and no digit as `\xHH`, every class as ranges of bytes, options by what they do, groups
//! without names.
//!
//! Refused though RabbitMQ takes them: verbs such as `(*COMMIT)`, recursion, branch resets,
//! callouts, conditions other than whether a group was found.

use super::class::{Set, class};
use super::cursor::{Cursor, Escape, Flags, escape, octal};
use std::fmt::Write;

/// How deep groups may nest: what `fancy-regex` takes, and RabbitMQ takes 250.
const NEST_MAX: usize = 50;

/// The most that a quantifier can ask for (PCRE2: `MAX_REPEAT_COUNT`).
const REPEAT_MAX: usize = 65_535;

/// What only backtracking finds, of one pattern at most: each is a small program of its own.
const HARD_MAX: usize = 100;

/// A pattern in the syntax of the crate that runs it, and what must be known to run it: a plain
/// record.
pub(super) struct Rewritten {
    /// What `regex` reads; `fancy-regex` if it is hard.
    pub(super) text: String,
    /// Whether it takes backtracking: it has look-around, a back reference or an atomic group.
    pub(super) is_hard: bool,
    /// Whether it finds something else in a name that ends in a newline, and takes backtracking
    /// there.
    pub(super) minds_last_newline: bool,
    /// Bytes, sets and groups that are written.
    pub(super) parts: usize,
    /// How many of those counted repetitions add: an engine makes nine of `a{9}`.
    pub(super) repeated: usize,
}

/// Rewrites a pattern; for names that end in a newline too if `last_newline` is set, and otherwise
/// for others.
///
/// # Errors
/// What is wrong with it, in PCRE2's words where it is wrong there.
pub(super) fn rewrite(pattern: &str, last_newline: bool) -> Result<Rewritten, String> {
    let mut rewriter = Rewriter {
        cursor: Cursor::new(pattern.as_bytes()),
        out: String::new(),
        flags: Flags::default(),
        open: Vec::new(),
        atom: None,
        names: Vec::new(),
        captures: 0,
        reference_max: 0,
        size: 0,
        repeated: 0,
        hard: 0,
        last_newline,
        minds_last_newline: false,
    };
    while rewriter.step()? {}
    rewriter.finish()
}

struct Rewriter<'a> {
    cursor: Cursor<'a>,
    out: String,
    flags: Flags,
    open: Vec<Group>,
    /// What a quantifier that comes next is about.
    atom: Option<Atom>,
    /// Names of groups, with their numbers.
    names: Vec<(&'a str, usize)>,
    captures: usize,
    reference_max: usize,
    /// Bytes, sets and groups so far, repetitions counted.
    size: usize,
    repeated: usize,
    hard: usize,
    last_newline: bool,
    minds_last_newline: bool,
}

/// A group that is open.
struct Group {
    atom: Atom,
    /// The options before it.
    flags: Flags,
    /// Branches that it may still have; only a condition's are counted.
    branches: Option<usize>,
}

#[derive(Clone, Copy)]
struct Atom {
    /// Where it begins in what is written.
    at: usize,
    /// How large all was before it.
    size: usize,
    /// Whether it looks and takes nothing.
    is_look: bool,
}

impl<'a> Rewriter<'a> {
    /// Rewrites one item; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        if self.cursor.quoted {
            if self.cursor.eat(b"\\E") {
                self.cursor.quoted = false;
                return Ok(true);
            }
            let byte = self.cursor.next();
            byte.into_iter().for_each(|byte| self.byte(byte));
            return Ok(byte.is_some());
        }
        self.cursor.skip_ignored(self.flags);
        let Some(byte) = self.cursor.next() else { return Ok(false) };
        match byte {
            b'\\' => self.escaped()?,
            b'[' => {
                if self.cursor.posix().is_some() {
                    return Err("POSIX named classes are supported only within a class".to_owned());
                }
                let set = class(&mut self.cursor, self.flags)?;
                self.set(&set);
            }
            b'(' => self.group()?,
            b')' => self.close()?,
            b'|' => self.branch()?,
            b'.' => self.set(&Set::of(if self.flags.dot_all { ANY } else { NOT_NEWLINE })),
            b'^' if self.flags.multi_line => self.at_end("(?m:^)", "(?:\\A|(?<=\\x0a)(?!\\z))"),
            b'^' => self.assert("\\A"),
            b'$' if self.flags.multi_line => self.assert("(?m:$)"),
            b'$' => self.at_end("\\z", "(?=\\x0a?\\z)"),
            b'*' => self.quantify(0, None)?,
            b'+' => self.quantify(1, None)?,
            b'?' => self.quantify(0, Some(1))?,
            b'{' => match self.cursor.braces() {
                Some((least, most)) => self.quantify(least, most)?,
                None => self.byte(b'{'),
            },
            other => self.byte(other),
        }
        Ok(true)
    }

    fn finish(self) -> Result<Rewritten, String> {
        if !self.open.is_empty() {
            return Err("missing closing parenthesis".to_owned());
        }
        if self.reference_max > self.captures {
            return Err("reference to non-existent subpattern".to_owned());
        }
        if self.hard > HARD_MAX {
            return Err(format!(
                "it has {} assertions, back references and atomic groups; {HARD_MAX} are allowed",
                self.hard
            ));
        }
        let Self { out: text, hard, minds_last_newline, size, repeated, .. } = self;
        Ok(Rewritten {
            text,
            is_hard: hard > 0,
            minds_last_newline,
            parts: size.saturating_sub(repeated),
            repeated,
        })
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Begins something that a quantifier may follow.
    fn begin(&mut self, is_look: bool) -> Atom {
        let atom = Atom { at: self.out.len(), size: self.size, is_look };
        self.size = self.size.saturating_add(1);
        atom
    }

    fn byte(&mut self, byte: u8) {
        let set = Set::byte(byte, self.flags);
        self.set(&set);
    }

    fn set(&mut self, set: &Set) {
        self.atom = Some(self.begin(false));
        set.spell(&mut self.out);
    }

    /// Something that only backtracking finds.
    fn hard(&mut self, text: &str) {
        self.atom = Some(self.begin(false));
        self.hard += 1;
        self.write(text);
    }

    /// Something that takes nothing, and that no quantifier may follow.
    fn assert(&mut self, text: &str) {
        self.atom = None;
        self.write(text);
    }

    /// As [`Self::assert`], where it depends on whether the name ends in a newline.
    fn at_end(&mut self, usual: &str, exact: &str) {
        self.minds_last_newline = true;
        self.hard += usize::from(self.last_newline);
        self.assert(if self.last_newline { exact } else { usual });
    }

    fn escaped(&mut self) -> Result<(), String> {
        if let Some(b'1'..=b'9') = self.cursor.peek() {
            return self.numbered();
        }
        match escape(&mut self.cursor, self.flags, false)? {
            Escape::Byte(byte) => self.byte(byte),
            Escape::Set(set) => self.set(&set),
            Escape::Letter(letter) => match letter {
                b'A' | b'G' => self.assert("\\A"),
                b'Z' => self.at_end("\\z", "(?=\\x0a?\\z)"),
                b'z' => self.assert("\\z"),
                b'b' => self.assert("\\b"),
                b'B' => self.assert("\\B"),
                b'K' => self.atom = None,
                b'Q' => self.cursor.quoted = true,
                b'E' => {}
                b'C' => self.set(&Set::of(ANY)),
                b'N' => {
                    let mut ahead = self.cursor.clone();
                    if ahead.eat(b"{") && ahead.braces().is_none() {
                        return Err("\\N{name} is not supported".to_owned());
                    }
                    self.set(&Set::of(NOT_NEWLINE));
                }
                b'R' => self.hard("(?>\\x0d\\x0a|[\\x0a-\\x0d\\x85])"),
                b'X' => self.hard("(?>\\x0d\\x0a|[\\x00-\\xff])"),
                b'g' => self.reference_by_g()?,
                b'k' => self.reference_by_k()?,
                other => return Err(format!("\\{} is not supported", char::from(other))),
            },
        }
        Ok(())
    }

    /// `\1` and larger numbers: a group, or a byte in octal.
    fn numbered(&mut self) -> Result<(), String> {
        let start = self.cursor.clone();
        let number = self.cursor.number().unwrap_or_default();
        let first = start.peek().unwrap_or_default();
        if number < 10 || first >= b'8' || number <= self.captures {
            return self.reference(number);
        }
        self.cursor = start;
        if let Escape::Byte(byte) = octal(&mut self.cursor, 0, 3)? {
            self.byte(byte);
        }
        Ok(())
    }

    /// What was found by the group of that number.
    fn reference(&mut self, number: usize) -> Result<(), String> {
        if number == 0 {
            return Err("reference to non-existent subpattern".to_owned());
        }
        self.reference_max = self.reference_max.max(number);
        let flag = if self.flags.caseless { "i" } else { "" };
        self.hard(&format!("(?{flag}:\\{number})"));
        Ok(())
    }

    fn named(&mut self, name: &str) -> Result<(), String> {
        let number = self.number_of(name.trim_matches([' ', '\t']))?;
        self.reference(number)
    }

    fn number_of(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().find(|(of, _)| *of == name);
        found
            .map(|(_, number)| *number)
            .ok_or_else(|| format!("there is no group '{name}' before it is referred to"))
    }

    /// `\g1`, `\g{1}`, `\g{-1}`, `\g{name}`.
    fn reference_by_g(&mut self) -> Result<(), String> {
        if self.cursor.eat(b"<") || self.cursor.eat(b"'") {
            return Err(NO_RECURSION.to_owned());
        }
        let text = if self.cursor.eat(b"{") {
            self.cursor.take_until(b'}').ok_or("missing } of \\g{}")?.trim_matches([' ', '\t'])
        } else {
            let digits = self.cursor.clone();
            self.cursor.take_while(|byte| matches!(byte, b'+' | b'-'));
            self.cursor.number().ok_or("\\g is not followed by a number or a name in braces")?;
            digits.up_to(&self.cursor)
        };
        match self.relative(text)? {
            Some(number) => self.reference(number),
            None => self.named(text),
        }
    }

    /// The group that a number stands for: `-1` is the last before, `+1` the next; none if it is no
    /// number.
    fn relative(&self, text: &str) -> Result<Option<usize>, String> {
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => (0, text),
        };
        let Ok(number) = digits.parse::<u16>() else { return Ok(None) };
        let number = usize::from(number);
        let found = match sign {
            0 => Some(number),
            1 => Some(self.captures + number),
            _ => (self.captures + 1).checked_sub(number),
        };
        found
            .filter(|&number| number > 0)
            .map(Some)
            .ok_or_else(|| "reference to non-existent subpattern".to_owned())
    }

    /// `\k<name>`, `\k'name'`, `\k{name}`.
    fn reference_by_k(&mut self) -> Result<(), String> {
        let name = match self.cursor.next() {
            Some(b'<') => self.cursor.take_until(b'>'),
            Some(b'\'') => self.cursor.take_until(b'\''),
            Some(b'{') => self.cursor.take_until(b'}'),
            _ => None,
        };
        self.named(name.ok_or("\\k is not followed by a braced, angle-bracketed, or quoted name")?)
    }

    fn quantify(&mut self, least: usize, most: Option<usize>) -> Result<(), String> {
        if least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX) {
            return Err("number too big in {} quantifier".to_owned());
        }
        if most.is_some_and(|most| most < least) {
            return Err("numbers out of order in {} quantifier".to_owned());
        }
        let atom = self.atom.take().ok_or("quantifier does not follow a repeatable item")?;
        self.cursor.skip_ignored(self.flags);
        let is_possessive = self.cursor.eat(b"+");
        let is_lazy = !is_possessive && self.cursor.eat(b"?") != self.flags.ungreedy;
        if atom.is_look {
            // Looking twice finds nothing else; looking any number of times may be not at all.
            if least == 0 {
                self.out.insert_str(atom.at, "(?:");
                self.write("|)");
            }
            return Ok(());
        }
        let times = most.unwrap_or(least + 1).max(1);
        let added = (self.size - atom.size).saturating_mul(times - 1);
        (self.size, self.repeated) = (self.size.saturating_add(added), self.repeated.saturating_add(added));
        // Writing to a String does not fail.
        let _always = match (least, most) {
            (0, None) => write!(self.out, "*"),
            (1, None) => write!(self.out, "+"),
            (0, Some(1)) => write!(self.out, "?"),
            (least, None) => write!(self.out, "{{{least},}}"),
            (least, Some(most)) => write!(self.out, "{{{least},{most}}}"),
        };
        if is_lazy {
            self.write("?");
        }
        if is_possessive {
            self.out.insert_str(atom.at, "(?>");
            self.write(")");
            self.hard += 1;
        }
        Ok(())
    }

    fn branch(&mut self) -> Result<(), String> {
        if let Some(branches) = self.open.last_mut().and_then(|group| group.branches.as_mut()) {
            *branches =
                branches.checked_sub(1).ok_or("conditional subpattern contains more than two branches")?;
        }
        self.assert("|");
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let group = self.open.pop().ok_or("unmatched closing parenthesis")?;
        self.write(")");
        self.flags = group.flags;
        self.atom = Some(group.atom);
        Ok(())
    }

    /// Opens a group that begins like this.
    fn open(&mut self, text: &str, is_look: bool) -> Result<(), String> {
        if self.open.len() == NEST_MAX {
            return Err(format!("groups are nested more than {NEST_MAX} deep"));
        }
        let atom = self.begin(is_look);
        self.open.push(Group { atom, flags: self.flags, branches: None });
        self.assert(text);
        Ok(())
    }

    fn open_hard(&mut self, text: &str, is_look: bool) -> Result<(), String> {
        self.hard += 1;
        self.open(text, is_look)
    }

    fn capture(&mut self) -> Result<(), String> {
        self.captures += 1;
        self.open("(", false)
    }

    /// What follows an opening parenthesis.
    fn group(&mut self) -> Result<(), String> {
        if self.cursor.eat(b"*") {
            return self.worded();
        }
        if !self.cursor.eat(b"?") {
            return if self.flags.uncaptured { self.open("(?:", false) } else { self.capture() };
        }
        for (begins, is_look) in
            [(":", false), (">", false), ("=", true), ("!", true), ("<=", true), ("<!", true)]
        {
            if self.cursor.eat(begins.as_bytes()) {
                self.hard += usize::from(begins != ":");
                return self.open(&format!("(?{begins}"), is_look);
            }
        }
        let next = self.cursor.clone();
        match self.cursor.next().ok_or("missing closing parenthesis")? {
            b'#' => Err("missing ) after (?# comment".to_owned()),
            b'<' => self.named_group(b'>'),
            b'\'' => self.named_group(b'\''),
            b'P' => match self.cursor.next() {
                Some(b'<') => self.named_group(b'>'),
                Some(b'=') => {
                    let name = self.cursor.take_until(b')').ok_or("syntax error in subpattern name")?;
                    self.named(name)
                }
                Some(b'>') => Err(NO_RECURSION.to_owned()),
                _ => Err("unrecognized character after (?P".to_owned()),
            },
            b'(' => self.condition(),
            b'R' | b'&' | b'+' | b'0'..=b'9' => Err(NO_RECURSION.to_owned()),
            b'-' if self.cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) => {
                Err(NO_RECURSION.to_owned())
            }
            b'|' => Err("branch resets (?|..) are not supported".to_owned()),
            b'C' => Err("callouts (?C) are not supported".to_owned()),
            _ => {
                self.cursor = next;
                self.options()
            }
        }
    }

    /// `(*pla:..)` and the like: look-around and atomic groups by their names.
    fn worded(&mut self) -> Result<(), String> {
        if self.cursor.peek() == Some(b')') {
            return Err("quantifier does not follow a repeatable item".to_owned());
        }
        let word = self.cursor.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let (text, is_look) = match word {
            b"pla" | b"positive_lookahead" => ("(?=", true),
            b"nla" | b"negative_lookahead" => ("(?!", true),
            b"plb" | b"positive_lookbehind" => ("(?<=", true),
            b"nlb" | b"negative_lookbehind" => ("(?<!", true),
            b"atomic" => ("(?>", false),
            _ => return Err(format!("(*{}) is not supported", String::from_utf8_lossy(word))),
        };
        if !self.cursor.eat(b":") {
            return Err("(*alpha_assertion) not recognized".to_owned());
        }
        self.open_hard(text, is_look)
    }

    fn named_group(&mut self, end: u8) -> Result<(), String> {
        let name =
            self.cursor.take_until(end).ok_or("syntax error in subpattern name (missing terminator?)")?;
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("'{name}' is no name for a group"));
        }
        if self.number_of(name).is_ok() {
            return Err(format!("two named subpatterns have the same name '{name}'"));
        }
        self.names.push((name, self.captures + 1));
        self.capture()
    }

    /// `(?(1)..|..)`: whether a group was found.
    fn condition(&mut self) -> Result<(), String> {
        let only = "only whether a group was found can be a condition";
        let text = self.cursor.take_until(b')').ok_or("missing closing parenthesis")?;
        let number = match self.relative(text)? {
            Some(number) => number,
            None => {
                let quoted = text.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
                let quoted =
                    quoted.or_else(|| text.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')));
                self.number_of(quoted.unwrap_or(text)).map_err(|_none| only.to_owned())?
            }
        };
        self.reference_max = self.reference_max.max(number);
        self.open_hard(&format!("(?({number})"), false)?;
        self.open.last_mut().into_iter().for_each(|group| group.branches = Some(1));
        Ok(())
    }

    /// `(?i)`, `(?i-x:..)`, `(?^)`: options up to the end of the group, or of the group that begins
    /// with them.
    fn options(&mut self) -> Result<(), String> {
        let (before, reset) = (self.flags, self.cursor.eat(b"^"));
        let mut flags = self.flags;
        if reset {
            flags = Flags { ungreedy: flags.ungreedy, ..Flags::default() };
        }
        let mut on = true;
        loop {
            match self.cursor.next().ok_or("missing closing parenthesis")? {
                b'-' if on && !reset => on = false,
                b'-' => return Err("invalid hyphen in option setting".to_owned()),
                b'i' => flags.caseless = on,
                b'm' => flags.multi_line = on,
                b's' => flags.dot_all = on,
                b'n' => flags.uncaptured = on,
                b'U' => flags.ungreedy = on,
                b'x' => {
                    flags.extended = on;
                    flags.spaces = on && self.cursor.eat(b"x");
                }
                // Names that are there twice are refused later; what is ASCII's alone is so anyway.
                b'J' | b'r' => {}
                b'a' => {
                    let _what = [b"D", b"S", b"W", b"P", b"T"].iter().any(|&letter| self.cursor.eat(letter));
                }
                b')' => {
                    (self.flags, self.atom) = (flags, None);
                    return Ok(());
                }
                b':' => {
                    self.open("(?:", false)?;
                    self.open.last_mut().into_iter().for_each(|group| group.flags = before);
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err("unrecognized character after (? or (?-".to_owned()),
            }
        }
    }
}

const NO_RECURSION: &str = "recursion into a group is not supported";

/// Every byte.
const ANY: &[(u8, u8)] = &[(0, 255)];

/// What a dot takes.
const NOT_NEWLINE: &[(u8, u8)] = &[(0, 9), (11, 255)];

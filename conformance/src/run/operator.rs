//! A command of the broker's operator: a program to which the arguments of the moment are appended.
//! It is not a client: what it does, no client may.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a command may take: importing a few hundred definitions is the longest.
const LIMIT: Duration = Duration::from_secs(120);
/// How much of what a command says is kept, bytes.
const OUTPUT_MAX: u64 = 16 * 1024;

/// A shell command that administers the broker; arguments are appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    /// Whether `--help` after it tells that there is such a command.
    has_help: bool,
}

impl Command {
    /// `program` with these first arguments; it has help for each of its commands.
    #[must_use]
    pub fn program(program: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { program: program.into(), arguments, has_help: true }
    }

    /// A command for the shell. What is appended to it stands in place of `{}`, if that is in it.
    #[must_use]
    pub fn shell(text: &str) -> Self {
        let text = if text.contains("{}") { text.replace("{}", "\"$@\"") } else { format!("{text} \"$@\"") };
        Self { has_help: false, ..Self::program(Path::new("sh"), &["-c", &text, "sh"]) }
    }

    /// This command with one argument more.
    #[must_use]
    pub fn and(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Whether there is such a command, as far as it can be told: a program of ours has help for
    /// each, which is quick.
    pub(crate) fn is_known(&self) -> bool {
        !self.has_help || self.run(&["--help".to_owned()]).is_ok()
    }

    /// Runs it with `arguments` appended, and waits until it is done.
    ///
    /// # Errors
    /// It cannot be run, takes too long, or says by its status that it failed; the text has all
    /// that it said.
    pub(crate) fn run(&self, arguments: &[String]) -> Result<(), String> {
        let shown = || {
            let words = [&self.program].into_iter().chain(&self.arguments);
            let words = words.map(|word| word.to_string_lossy().into_owned());
            words.chain(arguments.iter().cloned()).collect::<Vec<_>>().join(" ")
        };
        let mut child = std::process::Command::new(&self.program)
            .args(&self.arguments)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{}: {why}", shown()))?;
        let Some(said) = heard(&mut child) else {
            // It may have ended meanwhile.
            let _killed = child.kill();
            let _reaped = child.wait();
            return Err(format!("{}: not done within {} s", shown(), LIMIT.as_secs()));
        };
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{}: {status}\n{}", shown(), said.trim_end())),
            Err(why) => Err(format!("{}: {why}", shown())),
        }
    }
}

/// All that `child` says until it ends; None when that takes too long.
fn heard(child: &mut Child) -> Option<String> {
    let (sender, told) = channel();
    let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let pipes: Vec<_> = stdout.into_iter().chain(stderr).collect();
    let count = pipes.len();
    for mut pipe in pipes {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut said = Vec::new();
            // What was heard before a fault is worth showing; the rest is read and dropped, so that
            // nobody waits for room.
            let _read = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut said);
            let _dropped = std::io::copy(&mut pipe, &mut std::io::sink());
            // Nobody listens any more once it took too long.
            let _told = sender.send(String::from_utf8_lossy(&said).into_owned());
        });
    }
    let until = crate::clock::now() + LIMIT;
    let mut all = String::new();
    for _ in 0..count {
        all += &told.recv_timeout(until.saturating_duration_since(crate::clock::now())).ok()?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What running `command` with these arguments comes to.
    fn outcome(command: &str, arguments: &[&str]) -> Result<(), String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Command::shell(command).run(&arguments)
    }

    #[test]
    fn arguments_are_appended_or_stand_where_the_command_says() {
        assert_eq!(outcome("test 'a b' =", &["a b"]), Ok(()));
        assert_eq!(outcome("test {} = 'a b'", &["a b"]), Ok(()));
        assert_eq!(outcome("exit 0 ||", &["$(exit 1)"]), Ok(()));
    }

    #[test]
    fn a_command_that_fails_is_shown_with_what_it_said() {
        let why = outcome("echo no such hare; echo at all >&2; exit 3;", &["x"]).unwrap_err();
        for part in ["no such hare", "at all", "status: 3", " x"] {
            assert!(why.contains(part), "'{part}' is not in {why}");
        }
    }
}

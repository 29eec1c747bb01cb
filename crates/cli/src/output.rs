//! Writing to the two streams without ever panicking, and the failures that end the program.

use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// What ends a command with status 1. Its text says what failed, where, and what to do.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Writes `text` to standard output. A reader that went away (`vidmm demo | head`) is not a
/// failure: it has read what it wanted.
///
/// # Errors
/// Any other failure to write, such as a full disk behind a redirection.
pub(crate) fn to_stdout(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
        Ok(()) => Ok(()),
    }
}

/// Writes one line to standard error. A closed standard error is nobody's concern.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says why the command failed, with the whole chain of causes on one line.
pub(crate) fn complain(failure: &Failure) {
    let mut line = format!("vidmm: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    note(&line);
}

/// Whether standard output takes colours: a terminal, and the user has not set `NO_COLOR`
/// (<https://no-color.org>).
pub(crate) fn stdout_takes_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stdout().is_terminal()
}

/// Text from elsewhere - names of files and processes, words of a manager - can hold anything; a
/// terminal must not obey it.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

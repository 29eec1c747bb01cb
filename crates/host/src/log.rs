//! The log: one line each, `key=value` or JSON, to standard error.
//!
//! A reader that does not read costs lines, never time: a line is written only when the descriptor
//! takes it at once, and what was lost is counted. So is what comes faster than anybody could read.

use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vidmm_manager::Millis;

use crate::clock;

/// A line is cut to so many bytes: what a pipe takes whole.
const LINE_BYTES_MAX: usize = 4096;
/// A value is cut to so many characters, so that a line is hardly ever cut itself.
const VALUE_CHARS_MAX: usize = 512;
/// So many lines of a kind may come at once ...
const BURST: u64 = 200;
/// ... and so many a second for long.
const LINES_PER_SECOND: u64 = 50;

/// How grave a line is; a level shows itself and what is graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Somebody should look.
    Warning,
    /// Worth knowing.
    #[default]
    Info,
    /// For whoever looks closely.
    Debug,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `level=info msg="..." key=value`.
    #[default]
    KeyValue,
    /// The same after `<N>`, from which the journal takes the level; no time, which it knows.
    Journal,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Debug, Clone, Default)]
pub enum LogSink {
    /// Nowhere.
    Nowhere,
    /// Standard error.
    #[default]
    Stderr,
    /// Into a list, for tests.
    Kept(Arc<Mutex<Vec<String>>>),
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    sink: LogSink,
    format: LogFormat,
    pub(crate) level: LogLevel,
    /// Thousandths of a line that may still be written now: errors, warnings, the rest. What others
    /// can cause in numbers must not hide what is wrong.
    credit: [u64; 3],
    credited_at: Millis,
    lost: u64,
}

/// A value of a field.
pub(crate) type Field<'a> = (&'a str, &'a dyn std::fmt::Display);

impl LogLevel {
    /// By its name in configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Error, Self::Warning, Self::Info, Self::Debug]
            .into_iter()
            .find(|level| level.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }

    fn priority(self) -> u8 {
        match self {
            LogLevel::Error => 3,
            LogLevel::Warning => 4,
            LogLevel::Info => 6,
            LogLevel::Debug => 7,
        }
    }
}

impl Log {
    pub(crate) fn new(sink: LogSink, format: LogFormat, level: LogLevel) -> Self {
        Log {
            sink,
            format,
            level,
            credit: [BURST * 1000; 3],
            credited_at: clock::now(),
            lost: 0,
        }
    }

    /// How many lines were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn error(&mut self, text: &str, fields: &[Field<'_>]) {
        self.line(LogLevel::Error, text, fields);
    }

    pub(crate) fn warning(&mut self, text: &str, fields: &[Field<'_>]) {
        self.line(LogLevel::Warning, text, fields);
    }

    pub(crate) fn info(&mut self, text: &str, fields: &[Field<'_>]) {
        self.line(LogLevel::Info, text, fields);
    }

    /// Writes a line if it is grave enough and can be written now.
    pub(crate) fn line(&mut self, level: LogLevel, text: &str, fields: &[Field<'_>]) {
        if level > self.level || matches!(self.sink, LogSink::Nowhere) {
            return;
        }
        if !self.may_write(level) {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let lost = self.lost;
        let mut all = fields.to_vec();
        if lost > 0 {
            all.push(("lines_lost_so_far", &lost));
        }
        let line = self.render(level, text, &all);
        if !self.write(line) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn may_write(&mut self, level: LogLevel) -> bool {
        let now = clock::now();
        let passed_ms = now.0.saturating_sub(self.credited_at.0);
        self.credited_at = now;
        let more = passed_ms.saturating_mul(LINES_PER_SECOND);
        for credit in &mut self.credit {
            *credit = credit.saturating_add(more).min(BURST * 1000);
        }
        let [errors, warnings, others] = &mut self.credit;
        let credit = match level {
            LogLevel::Error => errors,
            LogLevel::Warning => warnings,
            LogLevel::Info | LogLevel::Debug => others,
        };
        match credit.checked_sub(1000) {
            Some(left) => *credit = left,
            None => return false,
        }
        true
    }

    fn render(&self, level: LogLevel, text: &str, fields: &[Field<'_>]) -> String {
        let mut line = String::new();
        match self.format {
            LogFormat::Json => {
                let _ = write!(line, "{{\"time_ms\":{},", clock::realtime_ms());
                let _ = write!(line, "\"level\":\"{}\",\"msg\":", level.name());
                quoted(&mut line, text);
                for (key, value) in fields {
                    let _ = write!(line, ",\"{key}\":");
                    json_value(&mut line, &value.to_string());
                }
                line.push('}');
            }
            LogFormat::KeyValue | LogFormat::Journal => {
                if self.format == LogFormat::Journal {
                    let _ = write!(line, "<{}>", level.priority());
                } else {
                    let _ = write!(line, "time_ms={} ", clock::realtime_ms());
                }
                let _ = write!(line, "level={} msg=", level.name());
                quoted(&mut line, text);
                for (key, value) in fields {
                    let value = value.to_string();
                    let _ = write!(line, " {key}=");
                    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
                    match !value.is_empty() && value.chars().all(plain) {
                        true => line.push_str(&value),
                        false => quoted(&mut line, &value),
                    }
                }
            }
        }
        line
    }

    /// Whether the line was taken.
    fn write(&self, mut line: String) -> bool {
        if line.len() >= LINE_BYTES_MAX {
            // Cut between characters; a JSON object is closed again.
            let end = (0..LINE_BYTES_MAX - 8)
                .rev()
                .find(|&at| line.is_char_boundary(at))
                .unwrap_or(0);
            line.truncate(end);
            line.push_str(match self.format {
                LogFormat::Json => "...\"}",
                _ => "...",
            });
        }
        line.push('\n');
        match &self.sink {
            LogSink::Nowhere => true,
            LogSink::Kept(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line.trim_end().to_owned());
                true
            }
            LogSink::Stderr => {
                let stderr = std::io::stderr();
                let mut ready = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
                let at_once = Timespec::default();
                let takes = poll(&mut ready, Some(&at_once)).is_ok_and(|count| count > 0)
                    && ready[0].revents().contains(PollFlags::OUT);
                takes && rustix::io::write(stderr.as_fd(), line.as_bytes()).is_ok()
            }
        }
    }
}

/// A number stays one.
fn json_value(line: &mut String, value: &str) {
    let digits = !value.is_empty() && value.len() < 16 && value.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = value.len() > 1 && value.starts_with('0');
    match digits && !leading_zero {
        true => line.push_str(value),
        false => quoted(line, value),
    }
}

/// Between quotes; nothing in it can end the line or move a terminal's cursor.
fn quoted(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars().take(VALUE_CHARS_MAX) {
        match c {
            '"' | '\\' => {
                line.push('\\');
                line.push(c);
            }
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(format: LogFormat) -> (Log, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = LogSink::Kept(Arc::clone(&lines));
        (Log::new(sink, format, LogLevel::Info), lines)
    }

    #[test]
    fn whatever_is_said_stays_one_line_and_moves_no_cursor() {
        for format in [LogFormat::KeyValue, LogFormat::Journal, LogFormat::Json] {
            let (mut log, lines) = kept(format);
            log.info("a\nb\u{1b}[2J\"", &[("name", &"x\r= \u{9b}\""), ("n", &7)]);
            log.info(&"ö".repeat(5000), &[]);
            let lines = lines.lock().unwrap();
            assert_eq!(lines.len(), 2);
            for line in lines.iter() {
                assert!(!line.chars().any(char::is_control), "{line}");
                assert!(line.len() < LINE_BYTES_MAX);
            }
        }
    }

    #[test]
    fn json_lines_are_json() {
        let (mut log, lines) = kept(LogFormat::Json);
        log.warning(
            "it \"is\"\t\\",
            &[("bytes", &12_u64), ("id", &"007"), ("e", &"")],
        );
        let line = lines.lock().unwrap()[0].clone();
        assert!(
            line.contains(r#""level":"warning","msg":"it \"is\"\u0009\\""#),
            "{line}"
        );
        assert!(line.ends_with(r#""bytes":12,"id":"007","e":""}"#), "{line}");
    }

    #[test]
    fn a_flood_is_cut_and_the_loss_is_told() {
        let (mut log, lines) = kept(LogFormat::KeyValue);
        for _ in 0..10_000 {
            log.info("again", &[]);
        }
        let written = lines.lock().unwrap().len();
        assert!((200..1000).contains(&written), "{written}");
        assert_eq!(log.lost(), 10_000 - written as u64);
        log.error("not hidden by the flood", &[]);
        let last = lines.lock().unwrap().last().cloned().unwrap();
        assert!(last.contains("lines_lost_so_far="), "{last}");
    }

    #[test]
    fn what_is_not_grave_enough_is_not_written() {
        let (mut log, lines) = kept(LogFormat::KeyValue);
        log.line(LogLevel::Debug, "no", &[]);
        log.error("yes", &[]);
        assert_eq!(lines.lock().unwrap().len(), 1);
    }
}

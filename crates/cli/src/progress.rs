//! What the user sees while a command works, on standard error: a bar on a terminal, a line every
//! few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;
use crate::words::percent;

/// The time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How often a bar is drawn at most, per second.
const DRAWS_PER_SECOND: u8 = 10;

/// A stage of the work with a known number of steps.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: &'static str,
    total: u64,
    steps: Steps,
    on_terminal: bool,
    /// On a terminal, from the first drawing on.
    bar: Option<ProgressBar>,
    first_bar: Instant,
    next_line: Instant,
}

/// How steps are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    /// By their number.
    Counted,
    /// As a share: too many for their number to say anything.
    Share,
}

impl Progress {
    /// Begins a stage of `total` steps.
    pub(crate) fn begin(stage: &'static str, total: u64) -> Self {
        let mut progress = Self::new(stage, total, Steps::Counted, Duration::ZERO);
        if progress.on_terminal {
            progress.bar = Some(progress.draw_bar());
        }
        progress
    }

    /// Begins a stage of very many steps, of which nothing is shown unless it takes longer than
    /// `patience`.
    pub(crate) fn begin_long(stage: &'static str, total: u64, patience: Duration) -> Self {
        Self::new(stage, total, Steps::Share, patience)
    }

    fn new(stage: &'static str, total: u64, steps: Steps, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            stage,
            total,
            steps,
            on_terminal: std::io::stderr().is_terminal(),
            bar: None,
            first_bar: now + patience,
            next_line: now + LINE_INTERVAL,
        }
    }

    /// Shows that `done` steps are done. `detail` is asked only if something is shown.
    pub(crate) fn show(&mut self, done: u64, detail: impl FnOnce() -> String) {
        if self.bar.is_none() && self.on_terminal && Instant::now() >= self.first_bar {
            self.bar = Some(self.draw_bar());
        }
        if let Some(bar) = &self.bar {
            bar.set_message(detail());
            bar.set_position(done);
        } else if !self.on_terminal && Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_INTERVAL;
            note(&format!(
                "{} {}{}",
                self.stage,
                self.in_words(done),
                comma(&detail())
            ));
        }
    }

    fn in_words(&self, done: u64) -> String {
        match self.steps {
            Steps::Counted => format!("{done} of {}", self.total),
            // A file may grow while it is read.
            Steps::Share => percent(done.min(self.total), self.total),
        }
    }

    fn draw_bar(&self) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(
            Some(self.total),
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
        );
        let template = match self.steps {
            Steps::Counted => "{prefix} {bar:20} {pos}/{len} {elapsed} {wide_msg}",
            Steps::Share => "{prefix} {bar:20} {percent} % {elapsed} {wide_msg}",
        };
        // The templates are constants; should one ever be wrong, the library's own style will do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(self.stage);
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn comma(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

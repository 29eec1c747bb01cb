//! What the user sees while a command works, on standard error: a bar on a terminal, a line every
//! few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;

/// The time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How often a bar is drawn at most, per second.
const DRAWS_PER_SECOND: u8 = 10;

/// A stage of the work with a known number of steps.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: &'static str,
    total: u64,
    /// On a terminal.
    bar: Option<ProgressBar>,
    next_line: Instant,
}

impl Progress {
    /// Begins a stage of `total` steps.
    pub(crate) fn begin(stage: &'static str, total: u64) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| draw_bar(stage, total));
        Self {
            stage,
            total,
            bar,
            next_line: Instant::now() + LINE_INTERVAL,
        }
    }

    /// Shows that `done` steps are done. `detail` is asked only if something is shown.
    pub(crate) fn show(&mut self, done: u64, detail: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(detail());
            bar.set_position(done);
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_INTERVAL;
            note(&format!(
                "{} {done} of {}{}",
                self.stage,
                self.total,
                comma(&detail())
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn draw_bar(stage: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(
        Some(total),
        ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
    );
    // The template is a constant; should it ever be wrong, the library's own style will do.
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {bar:20} {pos}/{len} {elapsed} {wide_msg}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(stage);
    bar
}

fn comma(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

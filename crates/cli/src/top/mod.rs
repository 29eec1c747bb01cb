//! `vidmm top`: a live view of a manager and its clients.
//!
//! Owns: the screen. `view` is what is shown and what keys do (no terminal, no clock, no manager),
//! `draw` puts it on a screen, `screen` takes the terminal and gives it back, `fetch` asks the
//! manager on a thread of its own, so that a manager that hangs never stops the keys.

mod draw;
mod fetch;
mod screen;
mod view;

use std::io::IsTerminal;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::operator::{Place, SocketArg};
use crate::output::{Failure, stdout_takes_colours};
use crate::top::fetch::Fetcher;
use crate::top::screen::{Screen, Wishes};
use crate::top::view::{Next, View};

/// How long a key or a signal waits at most.
const GLANCE: Duration = Duration::from_millis(100);

const ABOUT: &str = "Watch a manager and its clients, live";

const LONG_ABOUT: &str = "\
Shows, full-screen and live, what a manager and its clients hold: the budget and how much of it is \
charged, what waits, the machine's memory pressure; and for each process what it holds, what of it is \
locked, offered by class and warm, its discards a second, how many reclaims found the content, its fair \
share and its budget. If the manager goes away the view says so and finds it again.";

const EXAMPLES: &str = "\
Keys: q, Esc or Ctrl-C quit; ? explains the columns; p n h l o w d i s b sort; r turns the order around;
arrows and Page Up/Down move through the list; Ctrl-Z puts it in the background.

Examples:
  vidmm top
  vidmm top --interval 0.2
  vidmm stat            the same once, as text
  vidmm stat --json     the same for programs

Exit status: 0 done; 1 no terminal, or no manager at the start; 2 wrong usage.";

// Arguments of `vidmm top`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: SocketArg,

    /// Seconds from one look to the next, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
}

/// Watches until the user has seen enough.
///
/// # Errors
/// No terminal, or no manager at the start.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    if dumb || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(
            "this is no terminal that `vidmm top` could draw on; `vidmm stat` shows the same \
                    once as text, `vidmm stat --json` for programs"
                .into(),
        );
    }
    let place = Place::from(&args.socket);
    // A manager that is not there now is an error; one that goes away later is not.
    let fetcher = Fetcher::begin(&place, args.interval)?;
    let wishes = Wishes::heed()?;
    let mut view = View::new(stdout_takes_colours());
    let mut screen = Screen::take()?;
    loop {
        screen.draw(&view)?;
        if wishes.end() {
            return Ok(());
        }
        if wishes.suspend() {
            screen.suspend()?;
        }
        match fetcher.news() {
            Ok(news) => view.take(news, Instant::now()),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err("the thread that asks the manager has ended".into());
            }
        }
        match next_of(&mut view)? {
            Next::GoOn => {}
            Next::Suspend => screen.suspend()?,
            Next::Quit => return Ok(()),
        }
    }
}

/// Waits for a key, not for long, and does as it says.
fn next_of(view: &mut View) -> Result<Next, Failure> {
    let interrupted = |error: &std::io::Error| error.kind() == std::io::ErrorKind::Interrupted;
    match event::poll(GLANCE) {
        Ok(true) => {}
        Ok(false) => return Ok(Next::GoOn),
        Err(error) if interrupted(&error) => return Ok(Next::GoOn),
        Err(error) => return Err(error.into()),
    }
    match event::read() {
        Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Ok(view.press(key)),
        // A new size is found at the next drawing.
        Ok(_) => Ok(Next::GoOn),
        Err(error) if interrupted(&error) => Ok(Next::GoOn),
        Err(error) => Err(error.into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let bad = || "write seconds from 0.1 to 3600, such as 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| bad())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(bad())
    }
}

//! Takes the terminal and gives it back as it was: at the end, after an error, a panic, a signal.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

use crate::output::Failure;
use crate::top::draw;
use crate::top::view::View;

/// What signals ask for. None of them ends the program by itself: the terminal comes first.
#[derive(Debug)]
pub(crate) struct Wishes {
    end: Arc<AtomicBool>,
    suspend: Arc<AtomicBool>,
}

impl Wishes {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn heed() -> Result<Self, Failure> {
        let wishes = Self {
            end: Arc::default(),
            suspend: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&wishes.end))?;
        }
        signal_hook::flag::register(SIGTSTP, Arc::clone(&wishes.suspend))?;
        Ok(wishes)
    }

    /// Whether the program is to end.
    pub(crate) fn end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether it is to go into the background; says so once.
    pub(crate) fn suspend(&self) -> bool {
        self.suspend.swap(false, Ordering::Relaxed)
    }
}

/// The terminal, taken.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes it. A panic from now on is told on the terminal as it was before.
    ///
    /// # Errors
    /// The terminal refuses.
    pub(crate) fn take() -> Result<Self, Failure> {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            earlier(info);
        }));
        enter().inspect_err(|_| give_back())?;
        match Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error.into())
            }
        }
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw(&mut self, view: &View) -> io::Result<()> {
        self.terminal.draw(|frame| draw::frame(frame, view))?;
        Ok(())
    }

    /// Gives the terminal back and stops until the shell continues the program.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_process(getpid(), Signal::STOP)?;
        enter()?;
        // A new one draws everything, and unlike a clearing asks the terminal nothing.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

/// As far as it goes: a terminal that is gone needs nothing back.
fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

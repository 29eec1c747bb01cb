//! `vidmm stat`: what a manager and its clients hold and have done, once; and why who gave what.
//!
//! Owns: the two forms of the answer - `table` and `explain` for people, `json` for programs.

mod explain;
mod json;
mod table;

use crate::operator::{Explained, Link, Place, Snapshot, SocketArg};
use crate::output::{Failure, to_stdout};

/// How many orders, and discards of each client, are shown if no number is given.
const EVENTS_DEFAULT: &str = "20";

const ABOUT: &str = "Show what a manager and its clients hold and have done";

const LONG_ABOUT: &str = "\
Shows what a manager and its clients hold and have done: the budget, and for each process what it is \
counted at (its charge), what it may use, what is locked, offered in each class and warm, what was \
discarded of it, and how often a reclaim found the content intact. Largest charge first. Figures are \
at most 100 ms old. Who is neither root nor the manager's user sees processes of their own only.

With --events it also tells the newest orders to give memory back and the newest discards of each \
process: whose, how much, of which class and rank, for whom, and why.";

const EXAMPLES: &str = "\
Columns: BUDGET what the process may use now; SHARE its fair part; OFFERED L/N/H by class; HITS reclaims \
that found the content; STATE ok, no answer (has an order unanswered: asked last, given nothing), absent \
(lives, and is not connected), exceeds (holds more than it was granted).

Examples:
  vidmm stat                        the manager that vidmm's programs find
  vidmm stat --events 5             the newest orders and discards, explained
  vidmm stat --json --events        everything, for programs
  vidmm stat --socket /run/vidmm/manager.sock

Exit status: 0 done; 1 no manager, or it does not answer; 2 wrong usage.";

// Arguments of `vidmm stat`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: SocketArg,

    /// Explain the newest N orders, and the newest N discards of each process [default N: 20]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = EVENTS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events: Option<u32>,

    /// Print one JSON object instead of the table (sizes in bytes, times in milliseconds)
    #[arg(long)]
    json: bool,
}

/// Asks once and prints the answer.
///
/// # Errors
/// No manager, or one that does not answer as it should.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut link = Link::connect(&Place::from(&args.socket))?;
    // Events first: the names of those that they speak of come with the snapshot.
    let explained = match args.events {
        Some(newest) => Some(Explained::ask(&mut link, newest)?),
        None => None,
    };
    let snapshot = Snapshot::ask(&mut link)?;
    let explained = explained.as_ref();
    to_stdout(&match args.json {
        true => json::text(link.path(), &snapshot, explained)?,
        false => {
            let mut text = table::text(&snapshot);
            if let Some(explained) = explained {
                text.push_str(&explain::text(&snapshot, explained));
            }
            text
        }
    })
}

//! `vidmm budget`: a manager's budget, shown or changed.

use vidmm_machine::{BudgetSpec, ByteSize, MachineFiles};
use vidmm_wire::OperatorRequest;

use crate::operator::{Link, Outcome, Place, Snapshot, SocketArg};
use crate::output::{Failure, to_stdout};

const ABOUT: &str = "Show or change a manager's budget";

const LONG_ABOUT: &str = "\
Shows a manager's budget, or changes it at once, for as long as the manager runs. A lower one is collected \
from its clients: unused credit and warm memory first, then what is offered. What is in use stays; \
whatever is missing then comes as it comes free, and until then nothing new is granted. \
Only root and the manager's user may change it.";

const EXAMPLES: &str = "\
Examples:
  vidmm budget           shows it
  vidmm budget 2G        changes it
  vidmm budget 25%       a part of the smaller of the machine's and the cgroup's memory

Exit status: 0 done, also if memory in use is still missing; 1 not allowed, not possible, or no manager; \
2 wrong usage.";

// Arguments of `vidmm budget`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The new budget, such as 512M, 25% or auto (a quarter); without it the budget is shown
    #[arg(value_name = "SIZE")]
    size: Option<BudgetSpec>,

    #[command(flatten)]
    socket: SocketArg,
}

/// Shows the budget, or changes it and says what came of it.
///
/// # Errors
/// No manager, or it does not let this user, or it does not take this budget.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let place = Place::from(&args.socket);
    let Some(spec) = &args.size else {
        let snapshot = Snapshot::ask(&mut Link::connect(&place)?)?;
        let summary = snapshot.summary;
        return to_stdout(&format!(
            "{} ({} charged)\n",
            ByteSize(summary.budget_bytes),
            ByteSize(summary.charged_bytes)
        ));
    };
    let bytes = spec.resolve(&MachineFiles::default())?;
    let mut link = Link::connect(&place)?;
    let outcome = link.ask(OperatorRequest::SetBudget { bytes }, |_| ())?;
    to_stdout(&in_words(bytes, outcome))
}

fn in_words(budget_bytes: u64, outcome: Outcome) -> String {
    let mut text = format!("the budget is {}", ByteSize(budget_bytes));
    if outcome.bytes > 0 {
        text.push_str(&format!("; {} given back", ByteSize(outcome.bytes)));
    }
    if outcome.missing_bytes > 0 {
        text.push_str(&format!(
            "; {} still in use beyond it: that comes back as it comes free",
            ByteSize(outcome.missing_bytes)
        ));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_said() {
        let said = |bytes, missing_bytes| {
            in_words(
                1 << 30,
                Outcome {
                    bytes,
                    missing_bytes,
                },
            )
        };
        assert_eq!(said(0, 0), "the budget is 1 GiB\n");
        assert_eq!(
            said(1 << 20, 4096),
            "the budget is 1 GiB; 1 MiB given back; 4 KiB still in use beyond it: that comes back as \
             it comes free\n"
        );
    }
}

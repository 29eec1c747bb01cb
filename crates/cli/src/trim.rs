//! `vidmm trim`: has a manager's clients give memory back to the machine.

use vidmm_machine::ByteSize;
use vidmm_wire::OperatorRequest;

use crate::operator::{Link, Outcome, Place, SocketArg};
use crate::output::{Failure, to_stdout};

const ABOUT: &str = "Have a manager's clients give memory back to the machine";

const LONG_ABOUT: &str = "\
Has a manager's clients give memory back to the machine: unused credit and warm memory first, then what \
is offered, LOW before NORMAL before HIGH, what it pays least to hold first. Nothing that is in use is \
touched, so what comes may be less than what was asked for. Only root and the manager's user may.";

const EXAMPLES: &str = "\
Examples:
  vidmm trim 512M
  vidmm trim 1G --socket /run/vidmm/manager.sock

Exit status: 0 done, also if less came than was asked for; 1 not allowed, or no manager; 2 wrong usage.";

// Arguments of `vidmm trim`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How much is to be given back, such as 64M or 1.5G
    #[arg(value_name = "SIZE")]
    size: ByteSize,

    #[command(flatten)]
    socket: SocketArg,
}

/// Trims, and says what came of it.
///
/// # Errors
/// No manager, or it does not let this user.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut link = Link::connect(&Place::from(&args.socket))?;
    let bytes = args.size.0;
    let outcome = link.ask(OperatorRequest::Trim { bytes }, |_| ())?;
    to_stdout(&in_words(bytes, outcome))
}

fn in_words(wanted_bytes: u64, outcome: Outcome) -> String {
    let freed = ByteSize(outcome.bytes);
    match outcome.missing_bytes {
        0 => format!("{freed} given back\n"),
        missing_bytes => format!(
            "{freed} of {} given back; {} missing: the rest is in use, or its owner does not answer\n",
            ByteSize(wanted_bytes),
            ByteSize(missing_bytes)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_said() {
        let outcome = |bytes, missing_bytes| Outcome {
            bytes,
            missing_bytes,
        };
        assert_eq!(in_words(1 << 20, outcome(1 << 20, 0)), "1 MiB given back\n");
        let short = in_words(1 << 20, outcome(256 << 10, 768 << 10));
        assert!(short.starts_with("256 KiB of 1 MiB given back; 768 KiB missing"));
    }
}

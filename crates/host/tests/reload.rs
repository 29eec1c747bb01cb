//! A configuration read anew: nobody is disconnected, and a bad one changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use common::{MIB, RawClient, Serving, operate, until};
use vidmm_wire::{Join, OperatorRequest, ToClient, ToOperator};

/// This process's row, as an operator sees it.
fn row(serving: &Serving, client: &RawClient) -> vidmm_wire::ClientRow {
    let replies = std::thread::scope(|scope| {
        let asking = scope.spawn(|| operate(&serving.socket, OperatorRequest::Stat));
        while !asking.is_finished() {
            client.catch_up();
            std::thread::yield_now();
        }
        asking.join().unwrap()
    });
    let row = replies.into_iter().find_map(|reply| match reply {
        ToOperator::Client(row) => Some(row),
        _ => None,
    });
    row.expect("a row")
}

#[test]
fn new_terms_and_budgets_hold_at_once_and_bad_files_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    let executable = std::env::current_exe().unwrap();
    let name = executable.file_name().unwrap().to_str().unwrap();
    std::fs::write(&file, "budget = \"64M\"\nreserve = 0\n").unwrap();
    let serving = Serving::start_with(dir.path(), 1, |options| {
        options.budget = None;
        options.reserve_bytes = None;
        options.config = Some(file.clone());
    });
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 8 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    assert_eq!(row(&serving, &client).weight_hundredths, 100);

    let rules = format!(
        "budget = \"32M\"\nreserve = 0\n[[client]]\nexecutable = \"{name}\"\nweight = 3\n\
         reservation = \"1M\"\n"
    );
    std::fs::write(&file, rules).unwrap();
    serving.stopper.reload();
    until("it is read", || {
        serving.has_logged("the new configuration holds")
    });
    assert!(serving.has_logged("clients_with_new_terms=1"));
    let changed = row(&serving, &client);
    assert_eq!(changed.weight_hundredths, 300);
    assert_eq!(changed.reservation_bytes, MIB);
    assert!(changed.joined && changed.charged_bytes >= 8 * MIB);
    client.catch_up();
    assert_eq!(serving.stat().budget_bytes, 32 * MIB);

    std::fs::write(&file, "budget = \"48M\"\nreserv = 1\n").unwrap();
    serving.stopper.reload();
    until("it is refused", || serving.has_logged("the old one holds"));
    assert!(serving.has_logged("m.toml:2:1"), "with its place");
    assert_eq!(serving.stat().budget_bytes, 32 * MIB);
    client.catch_up();
    assert_eq!(row(&serving, &client).weight_hundredths, 300);
    client.ask(2, MIB).unwrap();
    assert!(
        matches!(client.next(), ToClient::Credit(_)),
        "nobody was disconnected"
    );
}

#[test]
fn an_operators_budget_is_checked_against_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let replies = operate(
        &serving.socket,
        OperatorRequest::SetBudget { bytes: 1 << 60 },
    );
    match &replies[..] {
        [ToOperator::Failed(vidmm_wire::CommandFailed::BadBudget(why))] => {
            assert!(why.contains("more than the machine has"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    operate(
        &serving.socket,
        OperatorRequest::SetBudget { bytes: 32 * MIB },
    );
    assert_eq!(serving.stat().budget_bytes, 32 * MIB);
    operate(&serving.socket, OperatorRequest::Stop);
    until("it has stopped", || !serving.socket.exists());
}

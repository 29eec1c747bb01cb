//! A worker's side: `vidmm demo-worker`, with the demo at the other end of standard input.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use vidmm::{JoinMode, JoinOptions, TraceOptions};

use crate::demo::fleet::manager::end_with;
use crate::demo::fleet::messages::{
    Assignment, File, FromWorker, Heard, PACKET_BYTES_MAX, ToWorker, hear, say,
};
use crate::demo::heap;
use crate::demo::plan::Plan;
use crate::demo::reference::Item;
use crate::demo::scratch::{Outside, Scratch};
use crate::demo::still::Still;
use crate::demo::store::Store;
use crate::demo::tally::Live;
use crate::demo::unpack::size_u64;
use crate::demo::worker::{Shared, Worker};
use crate::output::Failure;

/// Does what the demo says, and tells it how it went.
///
/// # Errors
/// Standard input is not the demo's, or the demo has ended.
pub(crate) fn run() -> Result<(), Failure> {
    heap::give_back_large_blocks();
    let line = Arc::new(Line {
        socket: std::io::stdin().as_fd().try_clone_to_owned()?,
        heard: Mutex::new(HeardSoFar {
            upto: None,
            large: false,
            buffer: vec![0; PACKET_BYTES_MAX],
        }),
    });
    let (assignment, items) = line.take_assignment()?;
    // Before it has said that it is ready nobody stops it.
    end_with(assignment.parent)?;
    match work(&line, &assignment, items) {
        Ok(()) => line.say(&FromWorker::Finished),
        Err(failure) => line.say(&FromWorker::Failed(failure.to_string())),
    }
}

fn work(line: &Arc<Line>, assignment: &Assignment, items: Vec<Item>) -> Result<(), Failure> {
    let plan = Plan::new(
        assignment.seed,
        assignment.workers,
        assignment.accesses,
        items.len(),
    );
    let path = |bytes: &Vec<u8>| PathBuf::from(OsString::from_vec(bytes.clone()));
    let mut builder = assignment.policy.builder().join(JoinOptions {
        mode: JoinMode::Shared,
        sockets: vec![path(&assignment.socket)],
    });
    if let Some(directory) = &assignment.trace {
        builder = builder.trace(TraceOptions::in_directory(path(directory)));
    }
    let pool = builder.build()?;
    line.say(&FromWorker::Ready(pool.ranges()))?;
    let store = Store::new(pool, items.len(), assignment.clock_ns);
    let outside = Box::new(ToOthers(Arc::clone(line)));
    let shared = Shared {
        items,
        plan,
        still: Still::default(),
        scratch: Scratch::part(outside, usize::from(assignment.workers)),
        live: Live::default(),
    };
    let mut worker = Worker::new(&shared, store);
    let own = (0_u64..)
        .zip(&shared.plan.accesses)
        .filter(|(_, access)| access.worker == assignment.worker);
    let skip = usize::try_from(assignment.skip).unwrap_or(usize::MAX);
    for (position, access) in own.skip(skip) {
        line.wait_for_turn(position)?;
        let record = worker.access(*access)?;
        line.say(&FromWorker::Done(record))?;
    }
    Ok(())
}

/// The line to the demo.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    heard: Mutex<HeardSoFar>,
}

#[derive(Debug)]
struct HeardSoFar {
    /// It may go up to here.
    upto: Option<u64>,
    /// It may take a large hold of scratch.
    large: bool,
    buffer: Vec<u8>,
}

impl Line {
    fn say(&self, message: &FromWorker) -> Result<(), Failure> {
        Ok(say(&self.socket, message, None)?)
    }

    fn lock(&self) -> MutexGuard<'_, HeardSoFar> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, heard: &mut HeardSoFar) -> Result<ToWorker, Failure> {
        match hear(&self.socket, &mut heard.buffer, true)? {
            Heard::Message(message) => Ok(message),
            Heard::Nothing | Heard::End => Err("the demo has ended".into()),
        }
    }

    /// The first messages: what to do, and all files.
    fn take_assignment(&self) -> Result<(Assignment, Vec<Item>), Failure> {
        let mut heard = self.lock();
        let ToWorker::Assignment(assignment) = self.hear(&mut heard)? else {
            return Err("this is for `vidmm demo` only".into());
        };
        let mut items = Vec::new();
        while size_u64(items.len()) < assignment.files {
            match self.hear(&mut heard)? {
                ToWorker::Files(files) => items.extend(files.into_iter().map(File::into_item)),
                _ => return Err("the demo does not name all files".into()),
            }
        }
        Ok((assignment, items))
    }

    /// Waits for a message and takes it to heart.
    fn heed(&self, heard: &mut HeardSoFar) -> Result<(), Failure> {
        match self.hear(heard)? {
            ToWorker::Go(upto) => heard.upto = Some(upto),
            ToWorker::Large => heard.large = true,
            ToWorker::Assignment(_) | ToWorker::Files(_) => {}
        }
        Ok(())
    }

    fn wait_for_turn(&self, position: u64) -> Result<(), Failure> {
        let mut heard = self.lock();
        while heard.upto.is_none_or(|upto| upto < position) {
            self.heed(&mut heard)?;
        }
        Ok(())
    }
}

/// The demo, which counts all workers' scratch. If it has ended, so will this worker at its next
/// word.
struct ToOthers(Arc<Line>);

impl Outside for ToOthers {
    fn wait_for_large(&self) {
        let line = &self.0;
        let mut heard = line.lock();
        heard.large = false;
        if line.say(&FromWorker::WantsLarge).is_err() {
            return;
        }
        while !heard.large && line.heed(&mut heard).is_ok() {}
    }

    fn holds(&self, bytes: u64) {
        let _ = self.0.say(&FromWorker::Scratch(bytes));
    }
}

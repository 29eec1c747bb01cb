//! The worker processes as the kernel sees them: started, looked at, stopped, killed.
//!
//! # How memory is made to stand still
//!
//! The kernel tells what is resident by walking the page tables, which is no snapshot: what goes
//! behind the walk and comes ahead of it is counted twice, the other way round not at all. So for
//! each look all workers are stopped with SIGSTOP, and the look begins when the kernel has said of
//! each that all its threads stand. Nothing can become resident or go then, agents included; what is
//! counted is what was there at one moment, of all workers together. Then they go on. No worker
//! has to do anything for it, so it cannot be done wrong in one. The time they stand is the look's own,
//! a few milliseconds at most, and looks take 5 % of a core at most.
//!
//! A worker that has not said where its memory will be holds none yet, and is left alone: it may not have
//! asked the kernel yet to be killed when the demo is, and must not be left behind stopped.
//!
//! A worker that was killed counts for nothing once the kernel says that it has ended, which is
//! after its memory is gone; a look waits for that. A worker that does not stop within
//! [`STAND_WAIT_MAX`] (somebody else continued it just then) makes that look void.

use std::io;
use std::ops::Range;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::output::Failure;

/// How long a look waits for the workers to stand.
const STAND_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they do, after the first few times.
const STAND_INTERVAL: Duration = Duration::from_micros(50);

/// All worker processes that were started and not waited for. While the lock is held no number of
/// a process can become another's.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<Vec<Member>>);

#[derive(Debug)]
struct Member {
    worker: usize,
    child: Child,
    /// `None`: it has not said yet.
    ranges: Option<Vec<Range<u64>>>,
    /// Stopped for longer than a look.
    is_stopped: bool,
}

impl Member {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Moves,
    Stands,
    HasEnded,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a worker's process in.
    pub(crate) fn add(&self, worker: usize, child: Child) {
        self.lock().push(Member {
            worker,
            child,
            ranges: None,
            is_stopped: false,
        });
    }

    /// From now on the worker's memory is looked at.
    pub(crate) fn set_ranges(&self, worker: usize, ranges: Vec<Range<u64>>) {
        if let Some(member) = self.lock().iter_mut().find(|one| one.worker == worker) {
            member.ranges = Some(ranges);
        }
    }

    /// Kills a worker. Says whether there was one.
    pub(crate) fn kill(&self, worker: usize) -> bool {
        let members = self.lock();
        let found = members.iter().find(|member| member.worker == worker);
        found.is_some_and(|member| kill_process(member.pid(), Signal::KILL).is_ok())
    }

    /// Stops a worker until [`Members::go_on`]. Says whether it was there and went on before.
    pub(crate) fn stop(&self, worker: usize) -> bool {
        let mut members = self.lock();
        let found = members.iter_mut().find(|member| member.worker == worker);
        found.is_some_and(|member| {
            let stops = !member.is_stopped && kill_process(member.pid(), Signal::STOP).is_ok();
            member.is_stopped |= stops;
            stops
        })
    }

    /// Lets a worker that was stopped go on.
    pub(crate) fn go_on(&self, worker: usize) {
        if let Some(member) = self.lock().iter_mut().find(|one| one.worker == worker) {
            member.is_stopped = false;
            let _ = kill_process(member.pid(), Signal::CONT);
        }
    }

    /// Waits for a worker's process, which has ended or is about to; tells how, in words, or `None`
    /// if it ended well.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn wait(&self, worker: usize) -> io::Result<Option<String>> {
        let mut members = self.lock();
        let Some(place) = members.iter().position(|one| one.worker == worker) else {
            return Ok(None);
        };
        let status = members[place].child.wait()?;
        members.swap_remove(place);
        Ok((!status.success()).then(|| status.to_string()))
    }

    /// Resident and swapped bytes of all workers' memory at one moment. `None`: they could not be
    /// made to stand.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn look(&self) -> Result<Option<u64>, Failure> {
        let members = self.lock();
        let moving = || {
            let members = members.iter();
            members.filter(|member| member.ranges.is_some() && !member.is_stopped)
        };
        for member in moving() {
            let _ = kill_process(member.pid(), Signal::STOP);
        }
        let seen = count_standing(&members);
        for member in moving() {
            let _ = kill_process(member.pid(), Signal::CONT);
        }
        seen
    }
}

impl Drop for Members {
    /// Nobody is left behind, however the run ends.
    fn drop(&mut self) {
        for member in self.lock().iter_mut() {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn count_standing(members: &[Member]) -> Result<Option<u64>, Failure> {
    let until = Instant::now() + STAND_WAIT_MAX;
    let mut standing = Vec::with_capacity(members.len());
    for (member, ranges) in members
        .iter()
        .filter_map(|member| Some((member, member.ranges.as_ref()?)))
    {
        let mut tries = 0;
        loop {
            match stand(member.pid())? {
                Stand::Stands => {
                    standing.push((member, ranges));
                    break;
                }
                Stand::HasEnded => break,
                Stand::Moves if Instant::now() > until => return Ok(None),
                Stand::Moves if tries < 10 => thread::yield_now(),
                Stand::Moves => thread::sleep(STAND_INTERVAL),
            }
            tries += 1;
        }
    }
    let mut sum_bytes = 0_u64;
    for (member, ranges) in standing {
        let pid = u32::try_from(member.pid().as_raw_nonzero().get()).unwrap_or(0);
        let resident = vidmm::resident_of_process(pid, ranges);
        sum_bytes = sum_bytes.saturating_add(resident?.total_bytes());
    }
    Ok(Some(sum_bytes))
}

/// How a child stands now. It stays to be waited for.
fn stand(pid: Pid) -> io::Result<Stand> {
    let options = WaitIdOptions::STOPPED
        | WaitIdOptions::EXITED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Ok(None) | Err(Errno::INTR) => Ok(Stand::Moves),
        Ok(Some(status)) if status.stopped() => Ok(Stand::Stands),
        Ok(Some(_)) => Ok(Stand::HasEnded),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    /// A process that has come to rest, so that its memory stays as it is.
    fn idler() -> Child {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn wait_until(pid: Pid, wanted: Stand) {
        let until = Instant::now() + Duration::from_secs(20);
        while stand(pid).unwrap() != wanted {
            assert!(Instant::now() < until, "it does not become {wanted:?}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_look_counts_all_and_lets_them_go_on() {
        let members = Members::default();
        let mut pids = Vec::new();
        for worker in 0..3 {
            let child = idler();
            pids.push(Pid::from_child(&child));
            members.add(worker, child);
            members.set_ranges(worker, std::iter::once(0..u64::MAX).collect());
        }
        let three = members.look().unwrap().unwrap();
        assert!(three > 0);
        pids.iter().for_each(|pid| wait_until(*pid, Stand::Moves));
        // One that has not said where its memory is has none, and is not touched.
        let child = idler();
        let silent = Pid::from_child(&child);
        members.add(3, child);
        assert_eq!(members.look().unwrap(), Some(three));
        assert_eq!(stand(silent).unwrap(), Stand::Moves);
        // One that stands for longer is counted and stays as it is.
        assert!(members.stop(1) && !members.stop(1));
        assert!(members.look().unwrap().unwrap() > three / 2);
        wait_until(pids[1], Stand::Stands);
        // A dead one counts for nothing, as soon as a look comes back.
        assert!(members.kill(0) && members.kill(1));
        let one = members.look().unwrap().unwrap();
        assert!(one > 0 && one < three / 2, "{one} {three}");
        assert!(members.wait(0).unwrap().unwrap().contains("signal: 9"));
        members.go_on(1);
        assert!(members.wait(1).unwrap().is_some());
        assert!(!members.kill(0) && !members.stop(0));
        assert!(members.look().unwrap().unwrap() > 0);
        drop(members);
        let gone = waitid(
            WaitId::Pid(pids[2]),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        assert_eq!(gone.unwrap_err(), Errno::CHILD);
    }
}

//! The agent: sleeps until the machine presses or a slow timer ticks, then gives memory back.
//!
//! It exists from the first allocation on, and waits for nothing while nothing is held: the timer
//! is off then and the pressure sources are not watched. In `Host` mode there is no thread; the
//! host waits for [`Pool::agent_fd`] and calls [`Pool::agent_run`].

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use vidmm_arena::Kernel;
use vidmm_machine::{
    Answer, Event, MachineFiles, MachinePressure, NoPressure, Pressure, Reason, SourceReport,
    SystemdEnvironment, Token,
};

use crate::gate::Inside;
use crate::joined::Notice;
use crate::options::PressureMode;
use crate::pool::Pool;
use crate::process::{secure_execution, spawn_without_signals};

/// Who runs the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentMode {
    /// A thread of its own, started with the first allocation.
    #[default]
    Thread,
    /// The host program, by [`Pool::agent_fd`] and [`Pool::agent_run`]: for programs that must
    /// stay single-threaded.
    Host,
}

/// The slow timer ticks so often, and only while something is held.
const TICK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// Warm memory that nobody wanted for so many ticks goes back to the kernel.
const QUIET_TICKS: u32 = 8;
const NEVER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// What the agent acts on.
pub(crate) trait Holder: Send + Sync {
    /// Everything that is charged, in bytes.
    fn held_bytes(&self) -> u64;
    /// What could be given back, in bytes.
    fn givable_bytes(&self) -> u64;
    /// Gives back up to so much.
    fn give(&self, bytes: u64, reason: Reason);
    /// Gives back what belongs to no allocation.
    fn give_warm(&self);
    /// A number that changes whenever memory is taken.
    fn taken_count(&self) -> u32;
    /// Shrinks a debt, if there is one.
    fn settle(&self);
    /// Acts on what the manager says.
    fn heed(&self);
    /// What the link to the manager needs now and then. `quiet`: no memory was taken lately.
    fn tend_link(&self, quiet: bool);
    /// Nothing is held any more: nor is credit.
    fn let_credit_go(&self);
    /// Whether a reason of pressure is another's business.
    fn leaves_to_manager(&self, reason: Reason) -> bool;
    /// What is given does not suffice.
    fn notify_short(&self, bytes: u64);
    /// Tells the program what it wanted to know.
    fn tell(&self);
    /// Its agent.
    fn agent(&self) -> &Agent;
    /// Keeps `fork` away: the agent's own locks are taken only while this is held.
    fn gate(&self) -> Inside<'_>;
}

impl<K: Kernel> Holder for Pool<K> {
    fn held_bytes(&self) -> u64 {
        Pool::held_bytes(self)
    }

    fn givable_bytes(&self) -> u64 {
        let stats = self.stats();
        stats.offered_bytes() + stats.warm_bytes
    }

    fn give(&self, bytes: u64, reason: Reason) {
        // Refused only where there is nothing to give.
        let _ = self.trim_because(bytes, reason);
    }

    fn give_warm(&self) {
        if let Ok(_inside) = self.enter() {
            self.return_warm(u64::MAX);
        }
    }

    fn taken_count(&self) -> u32 {
        self.signals.now_ticks().wrapping_sub(self.link.own_ticks())
    }

    fn settle(&self) {
        if self.room.left_bytes() < 0
            && let Ok(inside) = self.enter()
        {
            self.settle_debt(&inside, &Reason::Budget.into());
        }
    }

    fn heed(&self) {
        let inside = self.gate.enter();
        Pool::heed(self, &inside);
    }

    fn tend_link(&self, quiet: bool) {
        let inside = self.gate.enter();
        Pool::tend_link(self, &inside, quiet);
    }

    fn let_credit_go(&self) {
        let _inside = self.gate.enter();
        self.return_unused_credit();
    }

    fn leaves_to_manager(&self, reason: Reason) -> bool {
        let _inside = self.gate.enter();
        self.link.leaves_to_manager(reason)
    }

    fn notify_short(&self, bytes: u64) {
        let _inside = self.gate.enter();
        self.notify(Notice::PleaseTrim { bytes });
    }

    fn tell(&self) {
        self.tell_notices();
    }

    fn agent(&self) -> &Agent {
        &self.agent
    }

    fn gate(&self) -> Inside<'_> {
        self.gate.enter()
    }
}

impl<K: Kernel> Pool<K> {
    /// A descriptor that is readable when [`Pool::agent_run`] has something to do; for hosts that
    /// run the agent themselves ([`AgentMode::Host`]). It stays the same for the life of the pool
    /// in this process; a child made by `fork` asks anew.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn agent_fd(&self) -> std::io::Result<OwnedFd> {
        let _inside = self.gate.enter();
        let works = self.agent.started(&mut self.agent.works())?;
        works.epoll.try_clone()
    }

    /// Does what the agent has to do now, without waiting. To be called when
    /// [`Pool::agent_fd`] is readable; harmless at any other time.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn agent_run(&self) -> std::io::Result<()> {
        let works = {
            let _inside = self.gate.enter();
            self.drain_recording();
            self.agent.started(&mut self.agent.works())?
        };
        Ok(works.run_ready(&self.agent.pool, Some(&NEVER))?)
    }

    /// Who runs the agent.
    #[must_use]
    pub fn agent_mode(&self) -> AgentMode {
        self.options.agent
    }

    /// The sources of pressure, with what became of each; none before the first allocation.
    #[must_use]
    pub fn pressure_sources(&self) -> Vec<SourceReport> {
        let _inside = self.gate.enter();
        self.agent
            .works()
            .as_ref()
            .map_or_else(Vec::new, |works| works.pressure().describe())
    }
}

thread_local! {
    static IS_AGENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The agent of one pool.
#[derive(Debug)]
pub(crate) struct Agent {
    /// The timer runs and the sources are watched, or there is no point in trying.
    awake: AtomicBool,
    works: Mutex<Option<Arc<Works>>>,
    pool: Weak<dyn Holder>,
    mode: AgentMode,
    pressure: PressureMode,
    files: MachineFiles,
}

impl std::fmt::Debug for dyn Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Holder")
    }
}

/// The descriptors, shared by the pool and the agent's thread.
#[derive(Debug)]
struct Works {
    epoll: OwnedFd,
    timer: OwnedFd,
    wake: OwnedFd,
    pressure: Mutex<Box<dyn Pressure>>,
    stop: AtomicBool,
    /// Touched by ticks only, which come one at a time.
    quiet: Quiet,
}

/// For how long nobody has taken memory.
#[derive(Debug, Default)]
struct Quiet {
    taken_count: AtomicU32,
    ticks: AtomicU32,
}

impl Quiet {
    /// Whether it is exactly [`QUIET_TICKS`] ticks since the count last changed.
    fn tick(&self, taken_count: u32) -> bool {
        if self.taken_count.swap(taken_count, Ordering::Relaxed) != taken_count {
            self.ticks.store(0, Ordering::Relaxed);
        }
        self.ticks.fetch_add(1, Ordering::Relaxed).wrapping_add(1) == QUIET_TICKS
    }

    /// Whether nobody has taken memory for a whole tick.
    fn is_quiet(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) > 1
    }
}

/// What an entry of the epoll set is; pressure sources are numbered from `SOURCES` on.
const WAKE: u64 = 0;
const TIMER: u64 = 1;
const MANAGER: u64 = 2;
const SOURCES: u64 = 3;

impl Agent {
    pub(crate) fn new(
        pool: Weak<dyn Holder>,
        mode: AgentMode,
        pressure: PressureMode,
        files: MachineFiles,
    ) -> Self {
        let awake = AtomicBool::new(false);
        Agent {
            awake,
            works: Mutex::new(None),
            pool,
            mode,
            pressure,
            files,
        }
    }

    /// Called, inside the gate, by whatever may have taken the first memory: an allocation, or the
    /// reclaim of one that had lost it.
    #[inline]
    pub(crate) fn something_is_held(&self) {
        // SeqCst with the change of `room` before it: either the agent, about to rest, sees what is
        // held, or this call sees that it rests.
        if !self.awake.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Makes the descriptors and starts the thread, whether or not anything is held. Inside the
    /// gate.
    pub(crate) fn require(&self) -> Result<(), Errno> {
        self.started(&mut self.works()).map(drop)
    }

    /// From now on, what comes through `connection` is heeded. Inside the gate.
    pub(crate) fn watch_manager(&self, connection: &OwnedFd) -> Result<(), Errno> {
        let works = self.started(&mut self.works())?;
        let data = epoll::EventData::new_u64(MANAGER);
        epoll::add(&works.epoll, connection, data, epoll::EventFlags::IN)
    }

    /// A connection is given up. Before it is closed: a copy in a child would keep it in the set.
    pub(crate) fn forget_manager(&self, connection: &OwnedFd) {
        if let Some(works) = self.works().as_ref() {
            let _ = epoll::delete(&works.epoll, connection);
        }
    }

    /// Whether this thread is an agent: what only an agent could do for it, it has to do itself.
    pub(crate) fn is_this_thread() -> bool {
        IS_AGENT.try_with(std::cell::Cell::get).unwrap_or(false)
    }

    /// Lets the agent look at what is to be told. Inside the gate.
    pub(crate) fn nudge(&self) {
        if let Some(works) = self.works().as_ref() {
            let _ = rustix::io::write(&works.wake, &1_u64.to_ne_bytes());
        }
    }

    fn works(&self) -> MutexGuard<'_, Option<Arc<Works>>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn wake(&self) {
        let mut works = self.works();
        if self.awake.swap(true, Ordering::SeqCst) {
            return;
        }
        // Without descriptors or a thread the pool works all the same, under its budget alone; to
        // try again at every allocation would only be slow.
        if let Ok(works) = self.started(&mut works) {
            let _ = works.watch();
        }
    }

    /// Nothing is held: the agent stops looking - unless something came just now.
    fn rest(&self, works: &Works, pool: &dyn Holder) {
        let _inside = pool.gate();
        {
            let _starting = self.works();
            works.rest();
            self.awake.store(false, Ordering::SeqCst);
        }
        if pool.held_bytes() > 0 {
            self.wake();
        }
    }

    /// The descriptors, made (and the thread started) by the first call.
    fn started(&self, works: &mut Option<Arc<Works>>) -> Result<Arc<Works>, Errno> {
        if let Some(works) = works {
            return Ok(Arc::clone(works));
        }
        let sources: Box<dyn Pressure> = match self.pressure {
            PressureMode::Off => Box::new(NoPressure),
            PressureMode::On => {
                let files = self.files.clone();
                Box::new(MachinePressure::open(files, &systemd_environment()))
            }
        };
        let new = Arc::new(Works::new(sources)?);
        if self.mode == AgentMode::Thread {
            let (works, pool) = (Arc::clone(&new), self.pool.clone());
            spawn_without_signals("vidmm-agent", move || works.serve(&pool))
                .map_err(|_| Errno::AGAIN)?;
        }
        *works = Some(Arc::clone(&new));
        Ok(new)
    }

    /// In a child made by `fork`: no thread came along, and the descriptors are the parent's.
    pub(crate) fn in_child(&self) {
        if let Some(works) = self.works().take() {
            // The parent's thread has a reference too, which no thread here will ever drop - unless
            // the fork was in a callback, on that very thread: then it is to end when it comes back.
            works.stop.store(true, Ordering::Release);
            works.close_copies();
            std::mem::forget(works);
        }
        self.awake.store(false, Ordering::SeqCst);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(works) = self.works().take() {
            works.stop.store(true, Ordering::Release);
            let _ = rustix::io::write(&works.wake, &1u64.to_ne_bytes());
        }
    }
}

fn systemd_environment() -> SystemdEnvironment {
    if secure_execution() {
        return SystemdEnvironment::default();
    }
    SystemdEnvironment::from_lookup(|name| std::env::var_os(name))
}

impl Works {
    fn new(pressure: Box<dyn Pressure>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        for (fd, what) in [(&wake, WAKE), (&timer, TIMER)] {
            epoll::add(
                &epoll,
                fd,
                epoll::EventData::new_u64(what),
                epoll::EventFlags::IN,
            )?;
        }
        let stop = AtomicBool::new(false);
        Ok(Works {
            epoll,
            timer,
            wake,
            pressure: Mutex::new(pressure),
            stop,
            quiet: Quiet::default(),
        })
    }

    fn pressure(&self) -> MutexGuard<'_, Box<dyn Pressure>> {
        self.pressure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is held: the timer runs, the sources are watched.
    fn watch(&self) -> Result<(), Errno> {
        self.set_timer(TICK)?;
        for watch in self.pressure().descriptors() {
            let data = epoll::EventData::new_u64(SOURCES + u64::from(watch.token.0));
            match epoll::add(
                &self.epoll,
                watch.descriptor,
                data,
                watch.interest.epoll_flags(),
            ) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nothing is held: nothing may wake the agent.
    fn rest(&self) {
        let _ = self.set_timer(NEVER);
        for watch in self.pressure().descriptors() {
            let _ = epoll::delete(&self.epoll, watch.descriptor);
        }
    }

    fn set_timer(&self, every: Timespec) -> Result<(), Errno> {
        let spec = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).map(drop)
    }

    /// The life of the agent's thread.
    fn serve(&self, pool: &Weak<dyn Holder>) {
        IS_AGENT.set(true);
        while !self.stop.load(Ordering::Acquire) {
            match self.run_ready(pool, None) {
                Ok(()) => {}
                // Nothing that waiting again could mend.
                Err(_) => return,
            }
        }
    }

    /// Acts on what is ready; waits for it if `wait` is `None`.
    fn run_ready(&self, pool: &Weak<dyn Holder>, wait: Option<&Timespec>) -> Result<(), Errno> {
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(8);
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut ready), wait))?;
        // The pool may be at its end: then its drop has asked this thread to stop.
        let Some(pool) = pool.upgrade() else {
            return Ok(());
        };
        for event in ready {
            if self.stop.load(Ordering::Acquire) {
                // Perhaps in a child, where these descriptors are others'.
                break;
            }
            let (flags, data) = (event.flags, event.data.u64());
            match data {
                WAKE => {
                    self.drain(&self.wake);
                    pool.tell();
                }
                MANAGER => pool.heed(),
                TIMER => {
                    self.drain(&self.timer);
                    self.tick(&*pool);
                }
                source => {
                    let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
                    let token = u32::try_from(source - SOURCES).unwrap_or(u32::MAX);
                    let givable = pool.givable_bytes();
                    let event = Event::Ready {
                        token: Token(token),
                        failed,
                    };
                    let answer = self.ask(&*pool, event, givable);
                    self.act(&*pool, answer);
                }
            }
        }
        Ok(())
    }

    /// Closes this process's copies of the descriptors; nothing uses them afterwards.
    fn close_copies(&self) {
        let pressure = self.pressure();
        for watch in pressure.descriptors() {
            crate::fork::close_copy(watch.descriptor);
        }
        for fd in [&self.epoll, &self.timer, &self.wake] {
            crate::fork::close_copy(fd.as_fd());
        }
    }

    fn drain(&self, fd: &OwnedFd) {
        let mut count = [0; 8];
        let _ = rustix::io::read(fd, &mut count);
    }

    fn tick(&self, pool: &dyn Holder) {
        pool.settle();
        if self.quiet.tick(pool.taken_count()) {
            pool.give_warm();
        }
        pool.tend_link(self.quiet.is_quiet());
        if pool.held_bytes() == 0 {
            pool.let_credit_go();
            pool.agent().rest(self, pool);
            return;
        }
        let givable = pool.givable_bytes();
        let answer = self.ask(pool, Event::Check, givable);
        self.act(pool, answer);
    }

    fn ask(&self, pool: &dyn Holder, event: Event, givable_bytes: u64) -> Answer {
        let _inside = pool.gate();
        self.pressure().answer(event, givable_bytes)
    }

    fn act(&self, pool: &dyn Holder, answer: Answer) {
        match answer {
            Answer::Enough => {}
            Answer::GiveBack(demand) if pool.leaves_to_manager(demand.reason) => {}
            Answer::GiveBack(demand) => {
                let givable = pool.givable_bytes();
                pool.give(demand.bytes, demand.reason);
                if demand.bytes > givable {
                    pool.notify_short(demand.bytes - givable);
                }
            }
            Answer::Unwatch(token) => {
                let _inside = pool.gate();
                let mut pressure = self.pressure();
                for watch in pressure.descriptors() {
                    if watch.token == token {
                        let _ = epoll::delete(&self.epoll, watch.descriptor);
                    }
                }
                pressure.forget(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_told_once_and_anew_after_memory_was_taken() {
        let quiet = Quiet::default();
        let told = |count| (0..2 * QUIET_TICKS).filter(|_| quiet.tick(count)).count();
        assert_eq!(told(7), 1);
        assert_eq!(told(7), 0, "once is enough: there is nothing left");
        assert_eq!(told(8), 1);
    }
}

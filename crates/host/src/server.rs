//! The whole: its start, its loop, its end.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use vidmm_machine::{BudgetSpec, ByteSize};
use vidmm_manager::{Action, Event, Manager, Millis, ProcessId};

use crate::clock;
use crate::config::{Config, check_memory};
use crate::connections::Connections;
use crate::error::HostError;
use crate::ledger::{Ledger, Life, Past};
use crate::log::{Log, LogLevel};
use crate::metrics::{Exporter, Metrics, Textfile};
use crate::options::{self, Options};
use crate::place::Place;
use crate::presses::Presses;
use crate::process::Processes;
use crate::sandbox::{self, Needs};
use crate::sources::Source;
use crate::stop::{Signals, Stopper};
use crate::watched::AllWatched;

/// So many things that are ready are looked at in one round.
const EVENTS_PER_ROUND: usize = 256;

/// Descriptors that are not clients': the loop's own, files that are read, those of the program.
const OTHER_DESCRIPTORS: u64 = 64;

/// More connections than this are never kept, whatever the limits of the system.
const CONNECTIONS_MAX: u64 = 32_768;

/// A manager with everything around it, listening. See the crate's first page.
///
/// [`Server::run`] may be called on any thread, and keeps it.
#[derive(Debug)]
pub struct Server {
    pub(crate) manager: Manager,
    pub(crate) actions: Vec<Action>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) epoll: OwnedFd,
    pub(crate) place: Option<Place>,
    pub(crate) path: PathBuf,
    pub(crate) stopper: Stopper,
    signals: Option<Signals>,
    pub(crate) connections: Connections,
    pub(crate) watched: AllWatched,
    pub(crate) processes: Processes,
    pub(crate) ledger: Ledger,
    pub(crate) presses: Presses,
    pub(crate) metrics: Metrics,
    pub(crate) exporter: Option<Exporter>,
    pub(crate) textfile: Option<Textfile>,
    pub(crate) log: Log,
    pub(crate) config: Config,
    pub(crate) options: Options,
    /// Given up when there is no other descriptor left, to tell whoever connects.
    pub(crate) spare: Option<OwnedFd>,
    /// The listener is not looked at until then: no descriptor could be had at all.
    pub(crate) deaf_until: Option<Millis>,
    pub(crate) told_of_limit: Option<Millis>,
    pub(crate) audits: VecDeque<ProcessId>,
    pub(crate) audited_at: Option<Millis>,
    pub(crate) stopping: bool,
    pub(crate) executables_hidden: bool,
    /// Processes that the manager has forgotten, and that are not watched any more soon.
    pub(crate) forgotten: Vec<ProcessId>,
}

impl Server {
    /// Takes the socket, reads the configuration and the ledger, and listens. Whoever connects is
    /// served once [`Server::run`] runs.
    ///
    /// # Errors
    /// [`HostError`]; nothing is left behind then, but perhaps a directory.
    pub fn bind(options: Options) -> Result<Self, HostError> {
        let config = match &options.config {
            Some(path) => Config::read(path, &options.files)?,
            None => Config::default(),
        };
        let level = options.log_level.or(config.log_level).unwrap_or_default();
        let mut log = Log::new(options.log_sink.clone(), options.log_format, level);
        let settings = settings_of(&options, &config)?;
        if options.raise_descriptor_limit {
            raise_descriptor_limit();
        }
        let place = take_place(&options, &mut log)?;
        let mut server = Self::with_place(options, config, settings, log, &place)?;
        server.path.clone_from(&place.path);
        server.place = Some(place);
        Ok(server)
    }

    fn with_place(
        options: Options,
        config: Config,
        settings: vidmm_manager::Settings,
        mut log: Log,
        place: &Place,
    ) -> Result<Self, HostError> {
        let failed = "make an epoll set";
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(HostError::kernel(failed))?;
        let stopper = Stopper::new()?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&epoll, &place.socket, Source::Listener.data(), readable)
            .map_err(HostError::kernel(failed))?;
        epoll::add(&epoll, stopper.event(), Source::Stopper.data(), readable)
            .map_err(HostError::kernel(failed))?;
        let life = Life::now(&options.files.proc_root);
        let (ledger, past) = Ledger::open(&place.beside(".ledger"), life)?;
        let metrics_address = options.metrics.as_ref().or(config.metrics.as_ref());
        let exporter = metrics_address
            .map(|address| Exporter::open(address, &epoll))
            .transpose()?;
        let textfile = options
            .metrics_textfile
            .as_ref()
            .or(config.metrics_textfile.as_ref());
        let textfile = textfile.cloned().map(Textfile::new);
        let signals = options.signals.then(Signals::new).transpose()?;
        if let Some(signals) = &signals {
            let data = Source::Signals.data();
            epoll::add(&epoll, signals.descriptor(), data, readable)
                .map_err(HostError::kernel("wait for signals"))?;
        }
        let own_uid = rustix::process::geteuid().as_raw();
        let mut server = Server {
            manager: Manager::new(settings, ledger.incarnation(), clock::now()),
            actions: Vec::new(),
            events: VecDeque::new(),
            epoll,
            place: None,
            path: PathBuf::new(),
            stopper,
            signals,
            connections: Connections::new(connections_max(), own_uid),
            watched: AllWatched::default(),
            processes: Processes::new(options.files.clone()),
            ledger,
            presses: Presses::open(options.pressure, &options.files, &mut log),
            metrics: Metrics::new(),
            exporter,
            textfile,
            log,
            config,
            options,
            spare: spare(),
            deaf_until: None,
            told_of_limit: None,
            audits: VecDeque::new(),
            audited_at: None,
            stopping: false,
            executables_hidden: false,
            forgotten: Vec::new(),
        };
        server.restore(past);
        Ok(server)
    }

    /// Where clients find it.
    #[must_use]
    pub fn socket_path(&self) -> &Path {
        &self.path
    }

    /// Something that stops it, from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The budget, in bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.manager.settings().budget_bytes
    }

    /// Which life of the manager this is; never 0.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.ledger.incarnation()
    }

    /// Where metrics can be asked for, if anywhere.
    #[must_use]
    pub fn metrics_address(&self) -> Option<&str> {
        self.exporter.as_ref().map(Exporter::address)
    }

    /// Serves until it is stopped; then the socket and its lock are removed. The ledger stays, so
    /// that the next manager knows whom this one counted.
    ///
    /// # Errors
    /// [`HostError::Sandbox`]; [`HostError::Kernel`] if waiting fails.
    pub fn run(mut self) -> Result<(), HostError> {
        let result = self.serve();
        self.leave();
        result
    }

    fn serve(&mut self) -> Result<(), HostError> {
        self.shut_sandbox()?;
        self.say_ready();
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(EVENTS_PER_ROUND);
        while !self.stopping {
            let timeout = self.timeout();
            ready.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(HostError::kernel("wait for events")(error)),
            }
            for event in &ready {
                let (flags, data) = (event.flags, event.data);
                if let Some(source) = Source::of(data) {
                    self.act_on(source, flags);
                    self.settle();
                }
            }
            self.act_on_time();
            self.settle();
        }
        Ok(())
    }

    fn act_on(&mut self, source: Source, flags: epoll::EventFlags) {
        match source {
            Source::Listener => self.accept_some(),
            Source::Connection(number) => self.connection_ready(number, flags),
            Source::Process(number) => self.process_died(number),
            Source::Pressure(token) => {
                let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
                let givable_bytes = self.ledger.charged_bytes();
                let pressed = self
                    .presses
                    .ready(&self.epoll, token, failed, givable_bytes);
                self.pressed(pressed);
            }
            Source::Stopper => {
                let wishes = self.stopper.take_wishes();
                self.stopping |= wishes.stop;
                if wishes.reload {
                    self.reload();
                }
            }
            Source::Signals => {
                let Some(wishes) = self.signals.as_ref().map(Signals::take_wishes) else {
                    return;
                };
                self.stopping |= wishes.stop;
                if wishes.reload {
                    self.reload();
                }
            }
            Source::Scrapers => {
                if let Some(exporter) = &mut self.exporter {
                    exporter.accept(&self.epoll, clock::now());
                }
            }
            Source::Scraper(number) => {
                self.update_gauges();
                let metrics = &self.metrics;
                if let Some(exporter) = &mut self.exporter {
                    exporter.ready(&self.epoll, number, || metrics.text());
                }
            }
        }
    }

    /// What is due, whatever was ready.
    fn act_on_time(&mut self) {
        let now = clock::now();
        while let Some(id) = self.connections.overdue(now) {
            self.close(id, "silent");
        }
        if self.manager.deadline().is_some_and(|due| now >= due) {
            self.feed(Event::Tick);
        }
        let givable_bytes = self.ledger.charged_bytes();
        let pressed = self.presses.check(&self.epoll, now, givable_bytes);
        self.pressed(pressed);
        self.audit_some();
        if self.deaf_until.is_some_and(|until| now >= until) {
            self.listen_again();
        }
        if let Some(exporter) = &mut self.exporter {
            exporter.expire(&self.epoll, now);
        }
        self.write_textfile(now);
    }

    /// How long to wait: until the first thing that is due.
    fn timeout(&self) -> Option<Timespec> {
        if !self.audits.is_empty() {
            return Some(Timespec::default());
        }
        let textfile = self.textfile.as_ref().filter(|_| self.metrics.changed);
        let due = [
            self.manager.deadline(),
            self.connections.deadline(),
            self.presses.deadline(),
            self.deaf_until,
            self.exporter.as_ref().and_then(Exporter::deadline),
            textfile.map(Textfile::deadline),
        ];
        let first = due.into_iter().flatten().min()?;
        let left_ms = first.0.saturating_sub(clock::now().0);
        Some(Timespec {
            tv_sec: i64::try_from(left_ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left_ms % 1000 * 1_000_000).unwrap_or(0),
        })
    }

    /// Tells the manager what happened, and does what it says.
    pub(crate) fn feed(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    /// Tells the manager whatever it has not heard of, and does what it says, until there is nothing
    /// more.
    fn settle(&mut self) {
        if self.events.is_empty() {
            return;
        }
        while let Some(event) = self.events.pop_front() {
            let mut actions = std::mem::take(&mut self.actions);
            self.manager
                .handle(clock::now(), clock::realtime_ms(), event, &mut actions);
            for action in actions.drain(..) {
                self.perform(action);
            }
            self.actions = actions;
            for process in std::mem::take(&mut self.forgotten) {
                self.watched.remove(&self.epoll, process);
            }
        }
        self.metrics.changed = true;
        let charged = self.ledger.charged_bytes() > 0;
        self.presses.set_charged(&self.epoll, charged);
    }

    fn restore(&mut self, past: Past) {
        for warning in &past.warnings {
            self.log.warning(
                "the ledger of the last manager is not whole",
                &[("problem", warning)],
            );
        }
        for found in past.found {
            self.restore_one(&found);
        }
    }

    fn shut_sandbox(&mut self) -> Result<(), HostError> {
        if !self.options.sandbox {
            return Ok(());
        }
        let needs = self.needs();
        self.executables_hidden = !needs.executables;
        let applied = sandbox::shut(&needs)?;
        self.log.info(
            "sandbox",
            &[
                ("landlock", &applied.landlock),
                ("seccomp", &applied.seccomp),
            ],
        );
        Ok(())
    }

    fn needs(&self) -> Needs {
        let folder = |path: &Path| match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let files = &self.options.files;
        let mut needs = Needs {
            read: vec![
                files.proc_root.clone(),
                files.cgroup_root.clone(),
                "/etc/passwd".into(),
            ],
            remove: vec![folder(&self.path)],
            write: Vec::new(),
            executables: self.config.rules.look_at_executables(),
        };
        // A configuration is often a link to a file elsewhere.
        if let Some(path) = &self.options.config {
            needs.read.push(folder(path));
            needs
                .read
                .extend(path.canonicalize().ok().as_deref().map(folder));
        }
        let textfile = self
            .textfile
            .as_ref()
            .map(|textfile| folder(textfile.path()));
        needs.write.extend(textfile);
        let exporter = self.exporter.as_ref().and_then(Exporter::path);
        needs.remove.extend(exporter.map(|path| folder(path)));
        needs
    }

    fn say_ready(&mut self) {
        let budget = ByteSize(self.budget_bytes()).to_string();
        let incarnation = self.incarnation();
        let counted = self.ledger.count();
        self.log.info(
            "serving",
            &[
                ("socket", &self.path.display()),
                ("budget", &budget),
                ("incarnation", &incarnation),
                ("clients_of_before", &counted),
            ],
        );
        if let Some(exporter) = &self.exporter {
            let address = exporter.address().to_owned();
            self.log.info("metrics", &[("address", &address)]);
        }
        let status = format!("sharing {budget}");
        self.notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// Tells the service manager, if there is one. It is trusted to read what it asked for.
    pub(crate) fn notify(&mut self, states: &[NotifyState<'_>]) {
        if !self.options.service_manager {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            self.log
                .warning("cannot tell the service manager", &[("error", &error)]);
        }
    }

    pub(crate) fn update_gauges(&mut self) {
        let summary = self.manager.summary(clock::now());
        let metrics = &self.metrics;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        metrics.budget.set(summary.budget_bytes);
        metrics.reserve.set(summary.reserve_bytes);
        metrics.reserved.set(summary.reserved_bytes);
        metrics.charged.set(summary.charged_bytes);
        metrics.clients.set(summary.clients.into());
        metrics.absent.set(summary.absent.into());
        metrics.unresponsive.set(summary.unresponsive.into());
        metrics.waiting.set(summary.waiting.into());
        metrics.connections.set(count(self.connections.len()));
        metrics.incarnation.set(self.ledger.incarnation());
        metrics.log_lines_lost.set(self.log.lost());
    }

    fn write_textfile(&mut self, now: Millis) {
        let is_due = self
            .textfile
            .as_ref()
            .is_some_and(|textfile| self.metrics.changed && now >= textfile.deadline());
        if !is_due {
            return;
        }
        self.update_gauges();
        let text = self.metrics.text();
        self.metrics.changed = false;
        let Some(textfile) = &mut self.textfile else {
            return;
        };
        if let Err(error) = textfile.write(now, &text) {
            let path = textfile.path().display().to_string();
            self.log.warning(
                "cannot write the figures; it is tried again",
                &[("path", &path), ("error", &error)],
            );
        }
    }

    /// The end: the doors close first, so that a client that sees its connection end finds no
    /// socket, or the next manager's.
    fn leave(mut self) {
        self.log
            .info("stopping", &[("clients", &self.watched.joined())]);
        self.notify(&[NotifyState::Stopping]);
        self.place = None;
        if let Some(textfile) = &mut self.textfile {
            // Figures of a manager that is gone are worse than none.
            let _ = std::fs::remove_file(textfile.path());
        }
    }
}

/// What holds for all, checked.
pub(crate) fn settings_of(
    options: &Options,
    config: &Config,
) -> Result<vidmm_manager::Settings, HostError> {
    let spec = options.budget.or(config.budget).unwrap_or(BudgetSpec::Auto);
    let budget_bytes = spec.resolve(&options.files)?;
    let swap = options.allow_swap || config.allow_swap;
    check_memory(budget_bytes, swap, &options.files)?;
    let settings = config.settings(budget_bytes, options.reserve_bytes, options.guarded_percent);
    config.check_promises(&settings)?;
    Ok(settings)
}

fn take_place(options: &Options, log: &mut Log) -> Result<Place, HostError> {
    if options.service_manager
        && let Some(place) = Place::handed_over()?
    {
        log.line(
            LogLevel::Debug,
            "the service manager's socket",
            &[("socket", &place.path.display())],
        );
        return Ok(place);
    }
    let lookup = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let is_root = rustix::process::geteuid().is_root();
    let (path, audience) = options::place(options, lookup, is_root)?;
    Place::take(path, audience, log)
}

/// Each client takes two descriptors: as many as the system lets this process have are needed.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // With less there are fewer clients.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = limit.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(left.clamp(1, CONNECTIONS_MAX)).unwrap_or(1)
}

pub(crate) fn spare() -> Option<OwnedFd> {
    use rustix::event::{EventfdFlags, eventfd};
    eventfd(0, EventfdFlags::CLOEXEC).ok()
}

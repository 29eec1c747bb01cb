//! A whole small world around a manager, from a seed: processes that behave, dawdle, stop, lie, die
//! and come back; a ledger that fails; a manager that is killed. After everything that happens, what
//! must hold is checked.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod client;
pub mod dice;

use std::collections::{BTreeMap, VecDeque};

use client::{Kind, Link, Model, Sent};
use dice::Dice;
use vidmm_manager::*;
use vidmm_wire::*;

pub const MIB: u64 = 1 << 20;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub clients: u64,
    pub kinds: [Kind; 3],
    pub steps: u64,
    pub restarts: bool,
    pub deaths: bool,
    pub stops: bool,
    pub ledger_faults: bool,
    pub operators: bool,
    /// Processes have caps, and some cgroups are nearly full.
    pub caps: bool,
}

/// What happened, so that a test can tell that something did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub grants: u64,
    pub own: u64,
    pub refusals: u64,
    pub orders: u64,
    pub unrecorded: u64,
    pub restarts: u64,
    pub deaths: u64,
    pub rejoins: u64,
    pub over_budget: u64,
    pub unresponsive: u64,
    pub operated: u64,
    pub waited: u64,
}

pub struct World {
    pub plan: Plan,
    pub dice: Dice,
    pub now: u64,
    pub manager: Manager,
    settings: Settings,
    incarnation: u64,
    pub clients: Vec<Model>,
    ledger: BTreeMap<ProcessId, u64>,
    terms: BTreeMap<ProcessId, Terms>,
    connections: u64,
    pids: u32,
    /// Requests that must be answered: when the manager got them.
    asked: BTreeMap<(ConnectionId, u32), u64>,
    operators: BTreeMap<ConnectionId, u64>,
    pub counts: Counts,
    /// Everything that was done, as a number.
    pub digest: u64,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut dice = Dice(seed);
        let mut settings = Settings::of_budget((16 + dice.below(100)) * MIB);
        if dice.chance(300) {
            settings.reserve_bytes = 0;
        }
        settings.guarded_percent = if seed.is_multiple_of(3) { 100 } else { 25 };
        let mut world = World {
            plan,
            dice,
            now: 1000,
            manager: Manager::new(settings, 1, Millis(1000)),
            settings,
            incarnation: 1,
            clients: Vec::new(),
            ledger: BTreeMap::new(),
            terms: BTreeMap::new(),
            connections: 0,
            pids: 0,
            asked: BTreeMap::new(),
            operators: BTreeMap::new(),
            counts: Counts::default(),
            digest: 0,
        };
        for _ in 0..plan.clients {
            world.new_process();
        }
        world
    }

    pub fn new_process(&mut self) -> usize {
        self.pids += 1;
        let process = ProcessId {
            pid: self.pids,
            started_ticks: self.now,
        };
        let budget = self.settings.budget_bytes;
        let held = match self.dice.chance(300) {
            true => self.dice.pages(budget / 2),
            false => 0,
        };
        let kind = self.plan.kinds[usize::try_from(self.dice.below(3)).expect("small")];
        let terms = Terms {
            weight_hundredths: 50 + self.dice.u32_below(200),
            reservation_bytes: match self.dice.chance(200) {
                true => self.dice.pages(budget / 16),
                false => 0,
            },
            floor_bytes: None,
            cap_bytes: (self.plan.caps && self.dice.chance(300))
                .then(|| 4096 + self.dice.pages(budget)),
        };
        self.terms.insert(process, terms);
        self.clients.push(Model::new(process, kind, held));
        self.clients.len() - 1
    }

    fn say(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut actions = Vec::new();
            self.manager
                .handle(Millis(self.now), self.now, event, &mut actions);
            for action in actions {
                self.digest = digest(self.digest, &action);
                // What failed is said before anything else.
                self.act(action, &mut events);
            }
        }
        self.check_charges();
    }

    fn of_connection(&mut self, connection: ConnectionId) -> Option<&mut Model> {
        let mut clients = self.clients.iter_mut();
        clients.find(|client| {
            client
                .link
                .as_ref()
                .is_some_and(|link| link.id == connection)
        })
    }

    fn of(&mut self, process: ProcessId) -> Option<&mut Model> {
        let mut clients = self.clients.iter_mut();
        clients.find(|client| client.process == process)
    }

    /// Does what the manager wants done, as a host would.
    fn act(&mut self, action: Action, failed: &mut VecDeque<Event>) {
        match action {
            Action::Grant {
                process,
                charged_bytes,
                connection,
                message,
            } => {
                let all: u64 = self
                    .manager
                    .rows(Millis(self.now))
                    .map(|row| row.1.charged_bytes)
                    .sum();
                let budget = self.manager.settings().budget_bytes;
                assert!(
                    all <= budget,
                    "granted beyond the budget: {all} of {budget}"
                );
                if self.fails() {
                    failed.push_back(self.unrecorded(process));
                    return;
                }
                self.ledger.insert(process, charged_bytes);
                self.counts.grants += 1;
                self.deliver(connection, message);
            }
            Action::Welcome {
                process,
                charged_bytes,
                reception,
                ..
            } => {
                if self.fails() {
                    failed.push_back(self.unrecorded(process));
                    return;
                }
                let before = self.ledger.insert(process, charged_bytes);
                let Reception::Welcome(welcome) = reception else {
                    panic!("no welcome: {reception:?}");
                };
                self.welcome(process, welcome, before);
            }
            Action::Lower {
                process,
                charged_bytes,
            } => {
                let fails = self.fails();
                let entry = self.ledger.entry(process).or_default();
                *entry = if fails { *entry } else { charged_bytes };
            }
            Action::Forget { process } => {
                self.ledger.remove(&process);
            }
            Action::Send {
                connection,
                message,
            } => self.deliver(connection, message),
            Action::Refuse { connection, .. } => {
                if let Some(client) = self.of_connection(connection) {
                    client.cut();
                }
            }
            Action::Tell {
                connection,
                message,
            } => {
                if matches!(*message, ToOperator::Done { .. } | ToOperator::Failed(_)) {
                    assert!(
                        self.operators.remove(&connection).is_some(),
                        "one reply each"
                    );
                    self.counts.operated += 1;
                }
            }
            _ => {}
        }
    }

    fn fails(&mut self) -> bool {
        self.plan.ledger_faults && self.dice.chance(30)
    }

    fn unrecorded(&mut self, process: ProcessId) -> Event {
        self.counts.unrecorded += 1;
        Event::Unrecorded {
            process,
            charged_bytes: self.ledger.get(&process).copied().unwrap_or(0),
        }
    }

    fn welcome(&mut self, process: ProcessId, welcome: Welcome, before: Option<u64>) {
        let capped = self.terms[&process].cap_bytes.is_some();
        let client = self.of(process).expect("is there");
        let debt_before = client.debt;
        client.welcome(welcome.granted_bytes);
        // What it was counted at it may hold, whatever the kernel counts.
        if client.honest() && before.is_some() && !capped {
            assert!(
                client.debt <= debt_before,
                "{} is granted less than before",
                process.pid
            );
        }
    }

    fn deliver(&mut self, connection: ConnectionId, message: ToClient) {
        let late = self.dice.below(3);
        let now = self.now;
        let request = match &message {
            ToClient::Credit(credit) => Some(credit.request),
            ToClient::NoCredit(no) => Some(no.request),
            _ => None,
        };
        match &message {
            ToClient::Credit(credit) if credit.granted_bytes == 0 => self.counts.own += 1,
            ToClient::NoCredit(_) => self.counts.refusals += 1,
            ToClient::Order(order) => {
                self.counts.orders += 1;
                assert!(order.bytes > 0 && order.order > 0);
            }
            _ => {}
        }
        let client = self
            .of_connection(connection)
            .expect("a connection that is there");
        let honest = client.honest();
        let link = client.link.as_mut().expect("is connected");
        let at = (now + late).max(link.to_client.back().map_or(0, |sent| sent.at));
        link.to_client.push_back(Sent { at, message });
        if let Some(request) = request.filter(|_| honest) {
            let asked = self.asked.remove(&(connection, request));
            let asked = asked.expect("one reply to a request");
            self.counts.waited += u64::from(asked < now);
        }
    }

    /// What the manager counts, against what there is.
    fn check_charges(&mut self) {
        let mut rows = BTreeMap::new();
        let mut sum = 0;
        for (process, row) in self.manager.rows(Millis(self.now)) {
            let recorded = self.ledger.get(&process).copied();
            assert!(
                recorded >= Some(row.charged_bytes),
                "{process:?} is counted at {} and recorded at {recorded:?}",
                row.charged_bytes
            );
            if !self.plan.ledger_faults {
                assert_eq!(
                    recorded,
                    Some(row.charged_bytes),
                    "what sinks is recorded, too"
                );
            }
            sum += row.charged_bytes;
            rows.insert(process, (row.charged_bytes, row.joined));
        }
        let summary = self.manager.summary(Millis(self.now));
        assert_eq!(summary.charged_bytes, sum);
        assert!(summary.waiting <= 64 * u32::try_from(rows.len()).expect("few"));
        self.counts.over_budget += u64::from(sum > summary.budget_bytes);
        self.counts.unresponsive += u64::from(summary.unresponsive);
        for client in &self.clients {
            let Some((charge, joined)) = rows.get(&client.process).copied() else {
                continue;
            };
            if !client.honest() || !client.alive {
                continue;
            }
            let accounted = client.granted + client.unpaid + client.in_flight();
            match joined && client.link.is_some() {
                true => assert_eq!(charge, accounted, "nothing is lost or doubled: {client:?}"),
                false => assert!(charge >= accounted, "{charge} of {client:?}"),
            }
        }
    }

    /// One millisecond.
    pub fn step(&mut self) {
        self.now += 1;
        for index in 0..self.clients.len() {
            self.live(index);
            self.client_hears(index);
            self.manager_hears(index);
        }
        self.disturb();
        self.tick();
        for client in &mut self.clients {
            client.check().expect("holds what it may");
        }
        self.check_waiting();
    }

    /// Lets the manager do what is due; it must not be due for ever.
    fn tick(&mut self) {
        for _ in 0..200 {
            if self.manager.deadline().is_none_or(|due| due.0 > self.now) {
                return;
            }
            self.say(Event::Tick);
        }
        panic!("ticks for ever: {:?}", self.manager);
    }

    fn check_waiting(&self) {
        let settings = self.manager.settings();
        let most = u64::from(settings.patience_ms + 4 * settings.answer_ms) + 1;
        for (which, at) in &self.asked {
            assert!(
                self.now <= at + most,
                "{which:?} waits since {at}, now {}",
                self.now
            );
        }
        for (which, at) in &self.operators {
            assert!(
                self.now <= at + 3000,
                "{which:?} waits since {at}, now {}",
                self.now
            );
        }
    }

    fn live(&mut self, index: usize) {
        let budget = self.settings.budget_bytes;
        let (now, stops) = (self.now, self.plan.stops);
        let client = &mut self.clients[index];
        if !client.alive || client.stopped_until > now {
            return;
        }
        if stops && self.dice.chance(2) {
            client.stopped_until = now + self.dice.below(400);
            return;
        }
        if client.link.is_none() {
            if now >= client.rejoins_at && self.dice.chance(50) {
                self.join(index);
            } else if client.counted && self.dice.chance(100) {
                client.act(now, &mut self.dice, budget);
            }
            return;
        }
        match client.kind {
            Kind::Liar if self.dice.chance(300) => client.lie(now, &mut self.dice, budget),
            Kind::Honest | Kind::Slow if self.dice.chance(150) => {
                client.act(now, &mut self.dice, budget);
            }
            _ => {}
        }
        // Some part and come back.
        if self.plan.restarts && self.dice.chance(1) {
            client.rejoins_at = now + self.dice.below(100);
            client.wants = None;
            if let Some(link) = &mut client.link {
                link.closed = true;
            }
        }
    }

    fn join(&mut self, index: usize) {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let resident = self.dice.chance(700).then(|| self.dice.below(1000));
        let client = &mut self.clients[index];
        self.counts.rejoins += u64::from(client.counted);
        let held_bytes = match client.kind {
            Kind::Liar => self.dice.word(),
            _ => client.held,
        };
        client.link = Some(Link {
            id: connection,
            to_manager: VecDeque::new(),
            to_client: VecDeque::new(),
            closed: false,
        });
        let process = client.process;
        let resident_bytes = match client.kind {
            // Its cgroup bounds what it really has.
            Kind::Liar => Some(self.settings.budget_bytes / 4),
            _ => resident.map(|part| client.held / 1000 * part),
        };
        self.say(Event::Joins {
            connection,
            who: who(process),
            terms: self.terms[&process],
            join: Join {
                held_bytes,
                reservation_bytes: 0,
                incarnation: self.incarnation,
            },
            resident_bytes,
        });
    }

    fn client_hears(&mut self, index: usize) {
        let now = self.now;
        let client = &mut self.clients[index];
        if !client.alive || client.stopped_until > now {
            return;
        }
        let due = |link: &mut Link| {
            let first = link.to_client.front()?;
            (first.at <= now && !link.closed).then(|| link.to_client.pop_front())?
        };
        while let Some(sent) = client.link.as_mut().and_then(due) {
            match client.kind {
                Kind::Liar => client.note(now, &mut self.dice, &sent.message),
                _ => client.hear(now, &mut self.dice, &sent.message),
            }
        }
    }

    fn manager_hears(&mut self, index: usize) {
        let now = self.now;
        loop {
            let client = &mut self.clients[index];
            let Some(link) = &mut client.link else {
                return;
            };
            let connection = link.id;
            let Some(sent) = link.to_manager.front() else {
                if link.closed {
                    // What was not read is lost; the charge still covers it.
                    client.cut();
                    self.lost(connection);
                    self.say(Event::Closed { connection });
                }
                return;
            };
            if sent.at > now {
                return;
            }
            let message = link.to_manager.pop_front().expect("is there").message;
            let honest = client.honest();
            // One that is withdrawn is answered, too.
            if let ToManager::Ask(ask) = &message
                && honest
            {
                self.asked.insert((connection, ask.request), now);
            }
            // Some cgroups are nearly full.
            let full = self.plan.caps && self.dice.chance(100);
            let cgroup_room_bytes = full.then(|| self.dice.pages(8 * MIB));
            self.say(Event::Said {
                connection,
                message,
                cgroup_room_bytes,
            });
        }
    }

    fn lost(&mut self, connection: ConnectionId) {
        self.asked.retain(|(of, _), _| *of != connection);
    }

    fn disturb(&mut self) {
        if self.plan.deaths && self.dice.chance(3) {
            let index = usize::try_from(self.dice.below(self.clients.len() as u64)).expect("small");
            self.kill(index);
            self.new_process();
        }
        if self.plan.restarts && self.dice.chance(1) {
            self.restart();
        }
        if self.plan.operators && self.dice.chance(20) {
            self.operate();
        }
    }

    fn kill(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.alive = false;
        let process = client.process;
        if let Some(link) = client.link.take() {
            self.lost(link.id);
        }
        self.counts.deaths += 1;
        self.clients.remove(index);
        self.say(Event::Died { process });
    }

    /// The manager is killed, and another one reads the ledger.
    pub fn restart(&mut self) {
        self.counts.restarts += 1;
        self.incarnation += 1;
        self.asked.clear();
        self.operators.clear();
        self.manager = Manager::new(self.settings, self.incarnation, Millis(self.now));
        for client in &mut self.clients {
            client.cut();
            client.rejoins_at = self.now + self.dice.below(200);
        }
        for (process, charged_bytes) in self.ledger.clone() {
            self.say(Event::Restored(Ledgered {
                who: who(process),
                charged_bytes,
                terms: self.terms[&process],
            }));
        }
    }

    fn operate(&mut self) {
        let budget = self.settings.budget_bytes;
        let request = match self.dice.below(8) {
            0 | 1 => OperatorRequest::Stat,
            2 => OperatorRequest::Events { newest: 20 },
            3 | 4 => OperatorRequest::Trim {
                bytes: self.dice.pages(budget / 4),
            },
            5 => OperatorRequest::SetBudget {
                bytes: budget / 2 + self.dice.pages(budget),
            },
            6 => {
                let bytes = self.dice.pages(budget / 4);
                return self.say(Event::Pressed {
                    bytes,
                    reason: 2,
                    psi_some_avg10: None,
                });
            }
            _ => return self.retune(),
        };
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.operators.insert(connection, self.now);
        let rights = Rights {
            sees_all: true,
            commands: true,
            uid: 0,
        };
        self.say(Event::Asks {
            connection,
            rights,
            request,
        });
        if self.dice.chance(50) {
            self.operators.remove(&connection);
            self.say(Event::Closed { connection });
        }
    }

    /// Somebody's terms change.
    fn retune(&mut self) {
        let index = usize::try_from(self.dice.below(self.clients.len() as u64)).expect("small");
        let process = self.clients[index].process;
        let mut terms = self.terms[&process];
        terms.weight_hundredths = 50 + self.dice.u32_below(200);
        if self.plan.caps {
            let cap = 4096 + self.dice.pages(self.settings.budget_bytes);
            terms.cap_bytes = self.dice.chance(500).then_some(cap);
        }
        self.terms.insert(process, terms);
        self.say(Event::NewTerms { process, terms });
    }

    /// Lets time pass in which no process does anything but answer.
    pub fn rest(&mut self, ms: u64) {
        let plan = self.plan;
        self.plan.stops = false;
        self.plan.restarts = false;
        for _ in 0..ms {
            self.now += 1;
            for index in 0..self.clients.len() {
                self.client_hears(index);
                self.manager_hears(index);
            }
            self.tick();
            self.check_waiting();
        }
        self.plan = plan;
    }

    /// When everybody offers everything, a newcomer that wants an eighth gets it.
    pub fn newcomer_is_served(&mut self) {
        for client in &mut self.clients {
            let in_use = client.held - client.offered.iter().sum::<u64>();
            client.offered[2] += in_use;
        }
        let index = self.new_process();
        let budget = self.settings.budget_bytes;
        let client = &mut self.clients[index];
        (client.kind, client.held, client.granted) = (Kind::Honest, 0, 0);
        self.terms.insert(client.process, Terms::default());
        self.join(index);
        self.clients[index].ask(self.now, &mut self.dice, budget / 8);
        self.rest(1000);
        let client = &self.clients[index];
        assert!(client.credits == 1, "{client:?} of {:?}", self.manager);
        assert!(client.held >= budget / 8);
    }

    pub fn run(&mut self) {
        for _ in 0..self.plan.steps {
            self.step();
        }
    }
}

fn who(process: ProcessId) -> Identity {
    Identity {
        process,
        uid: 1000 + process.pid % 3,
        name: "model".to_owned(),
    }
}

fn digest(before: u64, action: &Action) -> u64 {
    let text = format!("{action:?}");
    text.bytes().fold(before, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

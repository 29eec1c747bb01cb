//! Hostile clients: what they say, from a seed, and that nobody else loses anything by it.
//!
//! `VIDMM_SIEGE_MESSAGES` messages (20,000 unless set), from `VIDMM_KILL_SEED`.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, socket_with,
};
use vidmm_wire::{
    Answer, Ask, Discard, Figures, Join, Opening, OperatorRequest, Step, Supply, ToManager, Told,
    encode,
};

use crate::process::{Attacker, MARK, Manager, Worker};
use crate::{BUDGET_BYTES, from_environment, snapshot_of};

const ATTACKERS: usize = 4;
const HONEST: usize = 2;

#[test]
fn hostile_clients_cost_the_others_nothing_but_their_share() {
    let wanted = from_environment("VIDMM_SIEGE_MESSAGES", 20_000);
    let mut random = Pcg64Mcg::seed_from_u64(from_environment("VIDMM_KILL_SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("manager.sock");
    let manager = Manager::start(&socket);
    let mut honest: Vec<Worker> = (0..HONEST)
        .map(|_| Worker::start(&socket, random.next_u64()))
        .collect();
    let calm = steps_in(&mut honest, Duration::from_secs(2));
    let before_bytes = manager.resident_bytes();
    let attackers: Vec<Attacker> = (0..ATTACKERS)
        .map(|_| Attacker::start(&socket, random.next_u64()))
        .collect();
    let began = Instant::now();
    let (mut steps, mut peak_bytes) = (0, 0);
    let (mut messages, mut connections) = (0, 0);
    while messages < wanted || began.elapsed() < Duration::from_secs(2) {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{messages} of {wanted} messages"
        );
        steps += steps_in(&mut honest, Duration::from_millis(200));
        peak_bytes = peak_bytes.max(snapshot_of(&mut honest));
        messages = attackers.iter().map(Attacker::messages).sum();
        connections = attackers.iter().map(Attacker::connections).sum::<u64>();
    }
    let besieged = steps as f64 / began.elapsed().as_secs_f64();
    let calm = calm as f64 / 2.0;
    drop(attackers);
    // It is there, and has not grown: what it remembers of them has limits.
    let after_bytes = manager.resident_bytes();
    println!(
        "{messages} messages through {connections} connections in {:.1?}; honest steps a second: \
         {calm:.0} before, {besieged:.0} meanwhile; at most {peak_bytes} of {BUDGET_BYTES} bytes; the \
         manager had {before_bytes} bytes before, {after_bytes} after",
        began.elapsed()
    );
    assert!(
        after_bytes < before_bytes + (32 << 20),
        "{before_bytes} bytes before, {after_bytes} after"
    );
    assert!(
        besieged > calm / 10.0,
        "{calm} steps a second before, {besieged} meanwhile"
    );
    crate::everybody_works(&mut honest);
    crate::the_last_can_have_it_all(honest, &socket);
}

/// What honest clients get done in a time.
fn steps_in(workers: &mut [Worker], time: Duration) -> u64 {
    let count = |workers: &mut [Worker]| workers.iter_mut().map(Worker::steps).sum::<u64>();
    let before = count(workers);
    std::thread::sleep(time);
    count(workers) - before
}

/// The process of a hostile client: says things until it is killed, and now and then how much.
pub(crate) fn attack() {
    // Not even the processor's time is to be taken from the others: that is not the manager's to
    // defend.
    let _ = rustix::process::nice(19);
    let seed = std::env::var("VIDMM_TEST_SEED").expect("it is set");
    let socket = std::env::var_os("VIDMM_SOCKET").expect("it is set");
    let mut attack = Attack {
        random: Pcg64Mcg::seed_from_u64(seed.parse().expect("a number")),
        messages: 0,
        connections: 0,
    };
    println!("\n{MARK}ready");
    let mut idle = Vec::new();
    loop {
        println!("{MARK}{} {}", attack.messages, attack.connections);
        match attack.below(16) {
            0 => attack.garbage(Path::new(&socket)),
            1 => attack.push_descriptors(Path::new(&socket)),
            // Connections that say nothing, many of them.
            2 => {
                idle.extend((0..64).filter_map(|_| attack.connect(Path::new(&socket))));
                if idle.len() > 500 {
                    idle.clear();
                }
            }
            3 => attack.operate(Path::new(&socket)),
            _ => attack.converse(Path::new(&socket)),
        }
    }
}

/// Takes what is there; whether the connection is still of use.
fn hear(socket: &OwnedFd, heard: &mut [u8]) -> bool {
    loop {
        match recv(socket, &mut *heard, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

struct Attack {
    random: Pcg64Mcg,
    messages: u64,
    connections: u64,
}

impl Attack {
    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// A number that somebody might not have thought of.
    fn odd(&mut self) -> u64 {
        match self.below(6) {
            0 => u64::MAX - self.below(3),
            1 => 0,
            2 => 1 << self.below(64),
            3 => self.random.next_u64(),
            _ => 4096 * self.below(2 * BUDGET_BYTES / 4096),
        }
    }

    fn odd_u32(&mut self) -> u32 {
        match self.below(3) {
            0 => self.random.next_u32(),
            1 => u32::MAX,
            _ => self.random.next_u32() % 64,
        }
    }

    fn connect(&mut self, place: &Path) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
        connect(&socket, &SocketAddrUnix::new(place).ok()?).ok()?;
        self.connections += 1;
        Some(socket)
    }

    /// Sends if there is room; whether the connection is still of use.
    fn send(&mut self, socket: &OwnedFd, packet: &[u8]) -> bool {
        use rustix::io::Errno;
        match send(socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => {
                self.messages += 1;
                true
            }
            Err(Errno::AGAIN) => {
                std::thread::yield_now();
                true
            }
            Err(_) => false,
        }
    }

    fn garbage(&mut self, place: &Path) {
        let Some(socket) = self.connect(place) else {
            return;
        };
        let mut bytes = vec![0; 1 + usize::try_from(self.below(9000)).expect("few")];
        self.random.fill_bytes(&mut bytes);
        if self.below(2) == 0 {
            let head = b"vidmm\0\x01\0";
            let count = head.len().min(bytes.len());
            bytes[..count].copy_from_slice(&head[..count]);
        }
        self.send(&socket, &bytes);
    }

    fn operate(&mut self, place: &Path) {
        let Some(socket) = self.connect(place) else {
            return;
        };
        // Not those that an operator of this user may give: the budget is its own.
        let newest = self.odd_u32();
        let request = match self.below(2) {
            0 => OperatorRequest::Stat,
            _ => OperatorRequest::Events { newest },
        };
        self.send(&socket, &Opening::Operate(request).encode());
    }

    fn push_descriptors(&mut self, place: &Path) {
        let Some(socket) = self.connect(place) else {
            return;
        };
        let pushed = [socket.as_fd(); 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut buffer = SendAncillaryBuffer::new(&mut space);
        assert!(buffer.push(SendAncillaryMessage::ScmRights(&pushed)));
        let join = Opening::Join(Join::default()).encode();
        let sent = sendmsg(
            &socket,
            &[IoSlice::new(&join)],
            &mut buffer,
            SendFlags::NOSIGNAL,
        );
        self.messages += u64::from(sent.is_ok());
    }

    /// Joins with a lie and goes on lying; hears what is said to it, or does not.
    fn converse(&mut self, place: &Path) {
        let Some(socket) = self.connect(place) else {
            return;
        };
        let join = Join {
            held_bytes: self.odd(),
            reservation_bytes: self.odd(),
            incarnation: self.odd(),
        };
        if !self.send(&socket, &Opening::Join(join).encode()) {
            return;
        }
        let listens = self.below(4) != 0;
        let mut heard = [0; 8192];
        for _ in 0..1 + self.below(20_000) {
            let mut packet = encode(&self.lie()).unwrap_or_default();
            // Most conversations end with a message that is none.
            if self.below(2000) == 0 && !packet.is_empty() {
                let place = usize::try_from(self.below(packet.len() as u64)).expect("few");
                packet[place] ^= 1 << self.below(8);
            }
            if !self.send(&socket, &packet) {
                return;
            }
            if listens && !hear(&socket, &mut heard) {
                return;
            }
        }
    }

    fn supply(&mut self) -> Supply {
        let too_many = self.below(2000) == 0;
        let counts = [self.below(4), self.below(17), 16 + u64::from(too_many)];
        let classes = counts.map(|count| {
            let mut steps = Vec::new();
            for _ in 0..count {
                steps.push(Step {
                    rank: self.odd_u32(),
                    idle_ms: self.odd_u32(),
                    bytes: self.odd(),
                });
            }
            steps
        });
        Supply {
            as_of: self.odd_u32(),
            unused_bytes: self.odd(),
            warm_bytes: self.odd(),
            classes,
        }
    }

    fn lie(&mut self) -> ToManager {
        match self.below(7) {
            0 => ToManager::Ask(Ask {
                request: self.odd_u32(),
                bytes: self.odd(),
                supply: self.supply(),
            }),
            1 => ToManager::Withdraw {
                request: self.odd_u32(),
            },
            2 => ToManager::Answer(Answer {
                order: self.odd_u32(),
                returned_bytes: self.odd(),
                discarded_bytes: [self.odd(), self.odd(), self.odd()],
                discards: self.odd_u32(),
            }),
            3 => ToManager::Returned { bytes: self.odd() },
            4 => ToManager::Reserve { bytes: self.odd() },
            _ => ToManager::Told(Told {
                poll: self.odd_u32(),
                supply: self.supply(),
                figures: Figures {
                    held_bytes: self.odd(),
                    reclaims_intact: self.odd(),
                    ..Figures::default()
                },
                discards: vec![
                    Discard {
                        bytes: self.odd(),
                        ..Discard::default()
                    };
                    usize::try_from(self.below(65)).expect("few")
                ],
            }),
        }
    }
}

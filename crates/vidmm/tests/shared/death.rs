//! Openers that die, or stand still, at any moment.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vidmm::{Class, Outcome, Pool, SharedAllocation};

use crate::common::{alone, alone_with};
use crate::puppet::{DISCARDED, Do, INTACT, LEN, Puppet, backed_bytes, has, pool, write};

const BUDGET: u64 = 64 << 20;
const BYTES: u64 = LEN as u64;

#[test]
fn the_dead_hold_nothing() {
    alone("death::the_dead_hold_nothing", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        write(&shared, 1);
        let descriptor = shared.share().unwrap();
        let (holder, _) = Puppet::with(BUDGET, &descriptor);
        let (mut locker, _) = Puppet::with(BUDGET, &descriptor);
        assert_eq!(locker.go(Do::Lock, 0), Ok(0));
        shared.offer(Class::Low).unwrap();
        assert_eq!(pool.trim(1), Ok(0));
        locker.kill();
        assert_eq!(pool.trim(1), Ok(0), "one is left");
        holder.kill();
        assert_eq!(pool.trim(1), Ok(BYTES));
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
    });
}

#[test]
fn it_outlives_its_maker() {
    alone("death::it_outlives_its_maker", || {
        // The maker dies with the content held; then with it offered; then before anybody else came.
        let pool = pool(BUDGET);
        for offered in [false, true] {
            let (descriptor, maker) = made_by_another(offered);
            let (shared, outcome) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
            assert_eq!(outcome, Outcome::Intact);
            assert!(has(&shared, 1));
            maker.kill();
            assert!(has(&shared, 1));
            shared.offer(Class::Low).unwrap();
            assert_eq!(pool.trim(1), Ok(BYTES));
            assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
            drop(shared);
            let (descriptor, maker) = made_by_another(offered);
            maker.kill();
            let (shared, outcome) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
            assert_eq!(outcome, Outcome::Intact, "nobody has discarded it");
            assert!(has(&shared, 1));
        }
    });
}

/// What another process makes, writes, and perhaps offers.
fn made_by_another(offered: bool) -> (OwnedFd, Puppet) {
    let pool = pool(BUDGET);
    let shared = SharedAllocation::create(&pool, LEN).unwrap();
    write(&shared, 1);
    let descriptor = shared.share().unwrap();
    let (mut puppet, _) = Puppet::with(BUDGET, &descriptor);
    if offered {
        assert_eq!(puppet.go(Do::Offer, 1), Ok(0));
    }
    // This process's part ends here, so that the other is as good as the maker.
    (descriptor, puppet)
}

/// One that stands still keeps what it holds, and nobody waits for it; what it has offered can go.
#[test]
fn the_stopped_delay_nobody() {
    alone("death::the_stopped_delay_nobody", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        write(&shared, 1);
        let descriptor = shared.share().unwrap();
        let (mut other, _) = Puppet::with(BUDGET, &descriptor);
        other.signal(libc::SIGSTOP);
        let begun = Instant::now();
        for _ in 0..100 {
            shared.offer(Class::Low).unwrap();
            assert_eq!(pool.trim(1), Ok(0));
            assert_eq!(shared.reclaim(), Ok(Outcome::Intact));
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        other.signal(libc::SIGCONT);
        assert_eq!(other.go(Do::Offer, 0), Ok(0));
        other.signal(libc::SIGSTOP);
        shared.offer(Class::Low).unwrap();
        assert_eq!(pool.trim(1), Ok(BYTES));
        assert!(backed_bytes(descriptor.as_fd()) < BYTES);
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
        write(&shared, 2);
        other.signal(libc::SIGCONT);
        assert_eq!(other.go(Do::Reclaim, 0), DISCARDED);
        assert_eq!(other.go(Do::Check, 2), Ok(1));
        assert_eq!(other.go(Do::Reclaim, 0), INTACT);
    });
}

const KILL_FOR: &str = "VIDMM_TEST_SHARED_KILL_S";

/// For how long processes are killed, in seconds; longer where somebody asks for it.
fn kill_for() -> Duration {
    let asked = std::env::var(KILL_FOR).ok();
    Duration::from_secs(asked.and_then(|text| text.parse().ok()).unwrap_or(4))
}

const WORKERS: usize = 6;
/// Each worker that ever lives has a page of its own in the content, by its place.
const PAGE: usize = 4096;

struct Worker {
    pid: libc::pid_t,
    /// Read to its end, it says what went wrong.
    news: UnixStream,
}

/// A small generator of numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Opens, then offers, reclaims, writes, discards and closes at random until it is killed. What it
/// wrote must be there whenever it is told that it is.
fn work(descriptor: &OwnedFd, place: usize, seed: u64) -> Result<(), String> {
    let pool = pool(BUDGET);
    let mut random = Random(seed | 1);
    let (mut open, _) = opened(&pool, descriptor)?;
    let at = place * PAGE;
    let mut mine: Option<u64> = None;
    let mut told_intact = 0_u64;
    loop {
        let step = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        // Held here.
        {
            let guard = open.lock().map_err(|error| step("lock", &error))?;
            let mut page = [0; PAGE];
            guard
                .read_at(&mut page, at)
                .map_err(|error| step("read", &error))?;
            if let Some(number) = mine
                && page != page_of(number)
            {
                return Err(format!(
                    "place {place}: wrote {number}, told intact {told_intact} times, reads {:?}",
                    &page[..16]
                ));
            }
            let number = random.next(u64::MAX);
            guard
                .write_at(&page_of(number), at)
                .map_err(|error| step("write", &error))?;
            mine = Some(number);
        }
        for _ in 0..random.next(3) {
            let class = [Class::Low, Class::Normal, Class::High][random.next(3) as usize];
            open.offer(class).map_err(|error| step("offer", &error))?;
            if random.next(2) == 0 {
                pool.trim(1).map_err(|error| step("trim", &error))?;
            }
        }
        match open.reclaim().map_err(|error| step("reclaim", &error))? {
            Outcome::Intact => told_intact += 1,
            _ => mine = None,
        }
        if random.next(50) == 0 {
            // Away: others may discard it, and this one cannot tell.
            drop(open);
            (open, _) = opened(&pool, descriptor)?;
            mine = None;
        }
    }
}

fn opened(pool: &Pool, descriptor: &OwnedFd) -> Result<(SharedAllocation, Outcome), String> {
    SharedAllocation::open(pool, descriptor.as_fd()).map_err(|error| format!("open: {error}"))
}

fn page_of(number: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    for (index, part) in page.chunks_mut(8).enumerate() {
        let word = number.wrapping_mul(index as u64 + 1) | 1;
        part.copy_from_slice(&word.to_le_bytes());
    }
    page
}

fn hire(descriptor: &OwnedFd, place: usize, seed: u64) -> Worker {
    use std::io::Write;
    let (news, mut theirs) = UnixStream::pair().unwrap();
    // SAFETY: the child runs on with this thread alone and ends without returning.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: it sets a timer that ends this process.
            unsafe { libc::alarm(3600) };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                work(descriptor, place, seed)
            }));
            let text = match outcome {
                Ok(Err(text)) => text,
                Ok(Ok(())) => "ended".to_owned(),
                Err(_) => "panicked".to_owned(),
            };
            let _ = theirs.write_all(text.as_bytes());
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(1) }
        }
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        pid => Worker { pid, news },
    }
}

fn bury(mut worker: Worker) {
    let mut status = 0;
    // SAFETY: a child made by `hire`.
    unsafe { libc::kill(worker.pid, libc::SIGKILL) };
    // SAFETY: waits for that child.
    unsafe { libc::waitpid(worker.pid, &raw mut status, 0) };
    let mut text = String::new();
    worker.news.read_to_string(&mut text).unwrap();
    assert_eq!(text, "", "a worker found");
}

#[test]
fn killed_at_any_moment() {
    let seconds = kill_for().as_secs().to_string();
    let variables = [(KILL_FOR, seconds.as_str())];
    alone_with("death::killed_at_any_moment", &variables, || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, WORKERS * PAGE).unwrap();
        let descriptor = shared.share().unwrap();
        // The maker goes at once.
        drop(shared);
        // SAFETY: sets the time after which this process is ended.
        unsafe { libc::alarm(60 + kill_for().as_secs() as u32) };
        let seed = u64::from(std::process::id()) << 20 | 1;
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut workers: Vec<Worker> = (0..WORKERS)
            .map(|place| hire(&descriptor, place, random.next(u64::MAX)))
            .collect();
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < kill_for() {
            rounds += 1;
            let place = random.next(WORKERS as u64) as usize;
            let pid = workers[place].pid;
            if random.next(3) == 0 {
                // SAFETY: a child of ours.
                unsafe { libc::kill(pid, libc::SIGSTOP) };
            }
            // Not a wait for anything: a moment to be anywhere in.
            std::thread::sleep(Duration::from_micros(random.next(4000)));
            if random.next(2) == 0 {
                // SAFETY: a child of ours.
                unsafe { libc::kill(pid, libc::SIGCONT) };
            }
            bury(workers.swap_remove(place));
            // Its place is free now, and its page nobody's.
            let next = hire(&descriptor, place, random.next(u64::MAX));
            workers.push(next);
            let last = workers.len() - 1;
            workers.swap(place, last);
        }
        for worker in workers {
            bury(worker);
        }
        println!("{rounds} processes killed");
        assert!(rounds > 50);
        // Whatever the dead left behind, the next has it for itself.
        let (shared, _) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
        shared.offer(Class::Low).unwrap();
        assert_eq!(pool.trim(1), Ok((WORKERS * PAGE) as u64));
        let left = backed_bytes(descriptor.as_fd());
        assert!(left <= 16 << 10, "{left} bytes");
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
        let descriptors: Vec<_> = (0..31)
            .map(|_| SharedAllocation::open(&pool, descriptor.as_fd()).unwrap())
            .collect();
        assert_eq!(descriptors.len(), 31, "every place is free again");
    });
}

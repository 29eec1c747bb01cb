//! Many threads on one arena: nobody's memory is ever hit by somebody else's return.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::help::{MIB, arena, bytes, len, write};

const THREADS: u8 = 4;
const ROUNDS: usize = 3_000;

#[test]
fn late_returns_hit_nobody() {
    let arena = arena();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let presser = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                arena.return_warm(MIB);
                arena.return_stray();
                arena.close_clean_tops();
            }
        });
        let workers: Vec<_> = (1..=THREADS)
            .map(|stamp| {
                let arena = &arena;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..ROUNDS {
                        let size = [4096, 64 << 10, 300_000, 2 * MIB][round % 4];
                        let shape = arena.shape(size, 0).unwrap();
                        let extent = arena
                            .take_warm(shape)
                            .unwrap_or_else(|| arena.take_clean(shape, MIB).unwrap());
                        assert!(extent.is_warm() || bytes(arena, extent)[..4096] == [0; 4096]);
                        write(arena, extent, len(arena, extent), stamp);
                        held.push(extent);
                        if held.len() < 8 {
                            continue;
                        }
                        for extent in &held {
                            let mut own = bytes(arena, *extent).iter().step_by(512);
                            assert!(own.all(|&byte| byte == stamp), "lost in round {round}");
                        }
                        let kept = held.split_off(round % 8);
                        held.into_iter().for_each(|extent| arena.put_warm(extent));
                        held = kept;
                        let mut returned: Vec<_> = held.drain(..held.len() / 2).collect();
                        arena.return_extents(&mut returned);
                    }
                    held.into_iter().for_each(|extent| arena.put_warm(extent));
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        presser.join().unwrap();
        ended.into_iter().for_each(|worker| worker.unwrap());
    });
    arena.return_warm(u64::MAX);
    let stats = arena.stats();
    assert_eq!(
        (stats.warm_bytes, stats.live_bytes),
        (0, 0),
        "nothing is lost"
    );
    assert_eq!(stats.clean_bytes, stats.opened_bytes);
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
}

//! What may go to another thread, and what may be shared by several: said by the compiler.

use vidmm::{
    Allocation, CacheGuard, Committed, Group, Offered, Pool, Purgeable, PurgeableCache,
    PurgeableGuard, ReadGuard, Reclaimed, WriteGuard,
};

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn everything_may_be_sent_and_shared() {
    is_send_and_sync::<Pool>();
    is_send_and_sync::<Allocation>();
    is_send_and_sync::<Committed>();
    is_send_and_sync::<Offered>();
    is_send_and_sync::<Reclaimed>();
    is_send_and_sync::<Group>();
    is_send_and_sync::<Purgeable>();
    is_send_and_sync::<PurgeableCache<String>>();
    is_send_and_sync::<CacheGuard>();
    is_send_and_sync::<PurgeableGuard<'_>>();
    is_send_and_sync::<ReadGuard<'_>>();
    is_send_and_sync::<WriteGuard<'_>>();
}

#[test]
fn a_guard_is_given_up_by_another_thread() {
    let pool = Pool::builder().budget_bytes(1 << 20).build().unwrap();
    let mut memory = pool.allocate(4096).unwrap();
    std::thread::scope(|scope| {
        let mut bytes = memory.lock_mut().unwrap();
        scope.spawn(move || bytes.fill(3));
    });
    let offered = memory.offer(vidmm::Class::Low);
    let back = std::thread::spawn(move || offered.reclaim().unwrap().into_inner())
        .join()
        .unwrap();
    assert!(back.lock().unwrap().iter().all(|&byte| byte == 3));
}

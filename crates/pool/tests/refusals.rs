//! A kernel that refuses: what cannot be opened, returned or reserved fails the call that wanted
//! it, is named, and costs nobody else anything.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use vidmm_arena::FailingKernel;
use vidmm_machine::BudgetSpec;
use vidmm_pool::{
    AgentMode, Answers, Class, Error, Handle, HeapKernel, Kernel, LinuxKernel, NewPoolError,
    Outcome, Pool, PoolOptions, PressureMode, Request, State,
};

const MIB: u64 = 1 << 20;

fn options(budget_bytes: u64) -> PoolOptions {
    PoolOptions {
        budget: BudgetSpec::Bytes(budget_bytes),
        pressure: PressureMode::Off,
        agent: AgentMode::Host,
        ..PoolOptions::default()
    }
}

fn create<K: Kernel>(pool: &Pool<K>, byte: u8) -> Result<Handle, Error> {
    let handle = pool.create(&Request::of_size(MIB))?;
    let mapping = pool.lock(handle)?;
    // SAFETY: locked, and this test's alone.
    unsafe { mapping.start.write_bytes(byte, mapping.len_bytes) };
    pool.unlock(handle)?;
    Ok(handle)
}

fn holds<K: Kernel>(pool: &Pool<K>, handle: Handle, byte: u8) -> bool {
    let mapping = pool.lock(handle).unwrap();
    // SAFETY: locked, and nobody writes meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.len_bytes) };
    let fine = bytes.iter().all(|&other| other == byte);
    pool.unlock(handle).unwrap();
    fine
}

/// Strict overcommit (`vm.overcommit_memory=2`): the kernel promises 16 MiB, the budget would
/// allow 64.
fn strict<K: Kernel + 'static>(kernel: K) {
    let kernel = FailingKernel::new(kernel);
    kernel.limit_commit(16 * MIB);
    let pool = Pool::new(kernel, options(64 * MIB)).unwrap();
    let mut handles = Vec::new();
    let refused = loop {
        match create(&pool, u8::try_from(handles.len()).unwrap()) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
        assert!(handles.len() <= 16);
    };
    assert_eq!(refused, Error::Kernel { wanted_bytes: MIB });
    assert!(refused.to_string().contains("overcommit"), "{refused}");
    assert_eq!(handles.len(), 16, "all that was promised is used");
    let room = pool.stats_now().room_bytes;
    assert_eq!(room, 48 << 20, "a refusal keeps no credit");
    for (&handle, byte) in handles.iter().zip(0..) {
        assert!(holds(&pool, handle, byte), "nothing is lost");
    }
    // Once something is offered, its memory serves; one goes, the oldest of the lowest class.
    let (first, second) = (handles[0], handles[1]);
    pool.offer(first, Class::High).unwrap();
    pool.offer(second, Class::Low).unwrap();
    let new = create(&pool, 99).unwrap();
    assert_eq!(pool.state(second), Ok(State::Discarded));
    assert_eq!(pool.reclaim(first), Ok(Outcome::Intact));
    assert!(holds(&pool, first, 0) && holds(&pool, new, 99));
    // Nothing is offered now: a reclaim that needs memory fails and changes nothing.
    assert_eq!(
        pool.reclaim(second),
        Err(Error::Kernel { wanted_bytes: MIB })
    );
    let list = [first, second];
    let refused = pool.reclaim_list(&list[..], Answers::Discarded, |_, _| panic!("no answer"));
    assert_eq!(
        refused.unwrap_err().error,
        Error::Kernel { wanted_bytes: MIB }
    );
    assert_eq!(pool.state(second), Ok(State::Discarded));
    // What is destroyed serves, too.
    pool.destroy(new).unwrap();
    assert_eq!(pool.reclaim(second), Ok(Outcome::Discarded));
    for (&handle, byte) in handles.iter().zip(0..) {
        assert!(handle == second || holds(&pool, handle, byte));
    }
    assert_eq!(pool.stats_now().room_bytes, 48 << 20);
}

#[test]
fn memory_that_is_not_promised_fails_the_call_and_nothing_is_lost() {
    strict(HeapKernel::default());
}

#[test]
#[cfg(target_os = "linux")]
fn the_same_on_real_memory() {
    strict(LinuxKernel);
}

fn returns_refused(errno: i32) -> Arc<Pool<FailingKernel<LinuxKernel>>> {
    let kernel = FailingKernel::new(LinuxKernel);
    kernel.refuse_returns(Some(errno));
    Pool::new(kernel, options(4 * MIB)).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_the_kernel_does_not_take_back_stays_charged_and_is_named() {
    let pool = returns_refused(11);
    let handles: Vec<_> = (1..=4).map(|byte| create(&pool, byte).unwrap()).collect();
    pool.offer(handles[0], Class::Normal).unwrap();
    pool.offer(handles[1], Class::Normal).unwrap();
    assert_eq!(pool.trim(u64::MAX), Ok(0), "nothing went back");
    let stats = pool.stats_now();
    assert!(stats.refused_bytes >= 2 * MIB);
    assert_eq!((stats.warm_bytes, stats.room_bytes), (2 * MIB, 0));
    assert_eq!(pool.resident().unwrap().total_bytes(), 4 * MIB);
    // It serves all the same, and the budget holds.
    assert_eq!(pool.reclaim(handles[0]), Ok(Outcome::Discarded));
    let new = create(&pool, 9).unwrap();
    let full = pool.create(&Request::of_size(MIB)).unwrap_err();
    assert!(matches!(full, Error::NoMemory { .. }), "{full}");
    assert!(holds(&pool, new, 9) && holds(&pool, handles[2], 3) && holds(&pool, handles[3], 4));
    assert!(pool.resident().unwrap().total_bytes() <= 4 * MIB);
    // A lower budget cannot be met; it is a debt, and calls end.
    pool.offer(new, Class::Low).unwrap();
    pool.set_budget_bytes(MIB).unwrap();
    assert_eq!(pool.stats_now().room_bytes, -3 << 20);
    let full = pool.create(&Request::of_size(MIB)).unwrap_err();
    assert!(
        matches!(full, Error::NoMemory { .. } | Error::Kernel { .. }),
        "{full}"
    );
    assert!(holds(&pool, handles[2], 3));
}

#[test]
fn without_address_space_there_is_no_pool() {
    let kernel = FailingKernel::new(HeapKernel::default());
    kernel.limit_reserve(MIB);
    let error = Pool::new(kernel, options(64 * MIB)).unwrap_err();
    assert!(matches!(error, NewPoolError::Arena(_)), "{error}");
    assert!(error.to_string().contains("address space"), "{error}");
}

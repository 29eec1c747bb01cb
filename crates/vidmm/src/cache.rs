//! A cache whose entries are offered memory: it may grow to the whole budget, and gives way to
//! whoever needs the memory more.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vidmm_pool::{OfferMode, Outcome, State};

use crate::allocation::Allocation;
use crate::guard::Pinned;
use crate::pool::Pool;

/// Keys are spread over this many maps, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Keys that a cache remembers unless told otherwise.
const ENTRIES_MAX: usize = 1 << 20;

/// A map from keys to contents that can be rebuilt. Between accesses the contents are offered.
///
/// One rebuild runs per key at a time: who else wants the key waits for it. If a rebuild panics
/// or fails the key is left empty. When no memory can be had, the caller still gets the content,
/// in memory of its own, and it is counted ([`CacheStats::uncached`]).
///
/// A rebuild must not ask the cache for its own key: it would wait for itself.
///
/// A cache has locks of its own: a child made by `fork` while another thread was inside the cache
/// must not use it (the pool itself it may).
///
/// ```
/// use vidmm::{Class, Pool, PurgeableCache};
///
/// let pool = Pool::builder().budget_bytes(16 << 20).build()?;
/// let cache = PurgeableCache::new(&pool, Class::Normal);
/// let parse = |name: &str| name.to_uppercase().into_bytes();
/// assert_eq!(&*cache.get_or_rebuild("a.txt", || parse("a.txt")), b"A.TXT");
/// assert_eq!(&*cache.get_or_rebuild("a.txt", || unreachable!("it is there")), b"A.TXT");
/// assert_eq!(cache.stats().hits, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PurgeableCache<K, S = RandomState> {
    pool: Pool,
    mode: OfferMode,
    shards: [Mutex<HashMap<K, Arc<Entry>>>; SHARDS],
    hasher: S,
    entries_max: usize,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    first_builds: AtomicU64,
    rebuilds: AtomicU64,
    rebuild_ns: AtomicU64,
    uncached: AtomicU64,
    dropped_entries: AtomicU64,
}

/// What a cache has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Accesses that found the content.
    pub hits: u64,
    /// Accesses to keys not seen before (or forgotten).
    pub first_builds: u64,
    /// Accesses whose content had been discarded.
    pub discards: u64,
    /// Time spent building and rebuilding.
    pub rebuild_time: Duration,
    /// Contents that were handed out in private memory because the pool had none.
    pub uncached: u64,
    /// Keys forgotten because the cache remembers only so many.
    pub forgotten: u64,
    /// Keys remembered now.
    pub entries: usize,
}

/// One key's place. Its lock is held while its content is rebuilt.
#[derive(Debug, Default)]
struct Entry {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    allocation: Option<Arc<Allocation>>,
    /// Guards alive; while there are any it is committed.
    readers: usize,
    /// The content was built whole and not known to be lost.
    built: bool,
}

impl Entry {
    fn content(&self) -> MutexGuard<'_, Content> {
        // A rebuild that panics leaves `built` false; nothing else can panic in between.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> PurgeableCache<K> {
    /// An empty cache whose contents are offered in `mode`. It remembers up to a million keys.
    #[must_use]
    pub fn new(pool: &Pool, mode: impl Into<OfferMode>) -> Self {
        Self::with_entries_max(pool, mode, ENTRIES_MAX)
    }

    /// An empty cache that remembers up to `entries_max` keys, whether their content is there or
    /// not (at least one for each of its 16 parts).
    #[must_use]
    pub fn with_entries_max(pool: &Pool, mode: impl Into<OfferMode>, entries_max: usize) -> Self {
        PurgeableCache {
            pool: pool.clone(),
            mode: mode.into(),
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            hasher: RandomState::new(),
            entries_max,
            counters: Counters::default(),
        }
    }

    /// The content of `key`; built by `rebuild` if it is not there.
    pub fn get_or_rebuild(&self, key: K, rebuild: impl FnOnce() -> Vec<u8>) -> CacheGuard {
        let built: Result<_, std::convert::Infallible> =
            self.get_or_try_rebuild(key, || Ok(rebuild()));
        match built {
            Ok(guard) => guard,
        }
    }

    /// The content of `key`; built by `rebuild` if it is not there.
    ///
    /// # Errors
    /// What `rebuild` says; the key is empty then.
    pub fn get_or_try_rebuild<E>(
        &self,
        key: K,
        rebuild: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<CacheGuard, E> {
        let entry = self.entry(key);
        let mut content = entry.content();
        if content.built
            && Self::is_there(&mut content)
            && let Some(pinned) = pin(&mut content)
        {
            add(&self.counters.hits, 1);
            return Ok(CacheGuard::shared(&entry, pinned, self.mode));
        }
        let first = content.allocation.is_none();
        let started = Instant::now();
        let bytes = rebuild()?;
        let cost = started.elapsed();
        add(
            if first {
                &self.counters.first_builds
            } else {
                &self.counters.rebuilds
            },
            1,
        );
        add(
            &self.counters.rebuild_ns,
            u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX),
        );
        match self.keep(&mut content, &bytes, cost) {
            Some(pinned) => Ok(CacheGuard::shared(&entry, pinned, self.mode)),
            None => {
                add(&self.counters.uncached, 1);
                Ok(CacheGuard {
                    bytes: Bytes::Private(bytes),
                })
            }
        }
    }

    /// Whether the content is there; it is committed then. If not, says so in `built`.
    fn is_there(content: &mut Content) -> bool {
        let there = match &content.allocation {
            Some(allocation) if content.readers == 0 => {
                // Asked for its state first: bringing memory for what will be rebuilt in a size of
                // its own would be for nothing.
                allocation.state() == State::Offered && allocation.reclaim() == Ok(Outcome::Intact)
            }
            Some(_) => true,
            None => false,
        };
        content.built = there;
        there
    }

    /// Copies a new content into the entry, if there is memory for it and nobody reads an old one
    /// (an old one that could not be locked once more, that is).
    fn keep(&self, content: &mut Content, bytes: &[u8], cost: Duration) -> Option<Pinned> {
        let fits = content
            .allocation
            .as_ref()
            .is_some_and(|allocation| allocation.len_bytes() == bytes.len() as u64);
        if fits {
            // Its slot remembers how it was used.
            content.allocation.as_ref()?.reclaim().ok()?;
        } else {
            content.allocation = None;
            let options = self.pool.options().allow_not_zeroed();
            content.allocation = Some(Arc::new(options.allocate_shared(bytes.len()).ok()?));
        }
        let allocation = Arc::get_mut(content.allocation.as_mut()?)?;
        allocation.lock_mut().ok()?.copy_from_slice(bytes);
        allocation.set_rebuild_cost(cost);
        content.built = true;
        pin(content)
    }

    /// The place of a key, made if it is new.
    fn entry(&self, key: K) -> Arc<Entry> {
        let mut shard = self.shard(&key);
        let full = shard.len() >= (self.entries_max / SHARDS).max(1);
        if full && !shard.contains_key(&key) {
            self.forget_one(&mut shard);
        }
        match shard.entry(key) {
            MapEntry::Occupied(place) => Arc::clone(place.get()),
            MapEntry::Vacant(place) => Arc::clone(place.insert(Arc::default())),
        }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, HashMap<K, Arc<Entry>>> {
        // The lowest bits choose the shard; the maps have hashers of their own.
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes place for a new key: takes out one that nobody uses, best one that is discarded.
    fn forget_one(&self, shard: &mut HashMap<K, Arc<Entry>>) {
        let mut looked = 0;
        let mut taken = false;
        let mut forget = |discarded_only: bool| {
            let victims = shard.extract_if(|_, entry| {
                let idle = Arc::strong_count(entry) == 1;
                looked += 1;
                !taken && idle && (looked > LOOK_MAX || !discarded_only || is_discarded(entry))
            });
            taken = { victims }.next().is_some();
            taken
        };
        if forget(true) || forget(false) {
            add(&self.counters.dropped_entries, 1);
        }
    }

    /// Forgets a key and gives its memory up. Guards that are alive keep their content.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).remove(key).is_some()
    }

    /// Forgets every key.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let count = |shard: &Mutex<HashMap<K, Arc<Entry>>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        CacheStats {
            hits: load(&self.counters.hits),
            first_builds: load(&self.counters.first_builds),
            discards: load(&self.counters.rebuilds),
            rebuild_time: Duration::from_nanos(load(&self.counters.rebuild_ns)),
            uncached: load(&self.counters.uncached),
            forgotten: load(&self.counters.dropped_entries),
            entries: self.shards.iter().map(count).sum(),
        }
    }
}

/// So many entries are looked at for a discarded one before any idle one will do.
const LOOK_MAX: usize = 64;

fn is_discarded(entry: &Entry) -> bool {
    let content = entry.content();
    content
        .allocation
        .as_ref()
        .is_none_or(|a| a.state() != State::Offered)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// One more reader of a content that is committed.
fn pin(content: &mut Content) -> Option<Pinned> {
    let pinned = Pinned::new(content.allocation.as_ref()?).ok()?;
    content.readers += 1;
    Some(pinned)
}

/// The content of a key. It stays as it is until dropped; the last guard of a key offers it.
#[derive(Debug)]
pub struct CacheGuard {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// `pinned` is taken only by `drop`.
    Shared {
        pinned: Option<Pinned>,
        entry: Arc<Entry>,
        mode: OfferMode,
    },
    Private(Vec<u8>),
}

impl CacheGuard {
    fn shared(entry: &Arc<Entry>, pinned: Pinned, mode: OfferMode) -> Self {
        let bytes = Bytes::Shared {
            pinned: Some(pinned),
            entry: Arc::clone(entry),
            mode,
        };
        CacheGuard { bytes }
    }

    /// Whether the pool had no memory for the content, so that it is this guard's own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self.bytes, Bytes::Private(_))
    }
}

impl Deref for CacheGuard {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Shared { pinned, .. } => pinned.as_deref().unwrap_or_default(),
            Bytes::Private(bytes) => bytes,
        }
    }
}

impl Drop for CacheGuard {
    fn drop(&mut self) {
        if let Bytes::Shared {
            pinned,
            entry,
            mode,
        } = &mut self.bytes
        {
            let mut content = entry.content();
            // Unlocked first: what is locked cannot be offered.
            *pinned = None;
            content.readers -= 1;
            if let Some(allocation) = &content.allocation
                && content.readers == 0
            {
                // Only a child without the memory refuses.
                let _ = allocation.offer(*mode);
            }
        }
    }
}

//! `madv_free_*`: an offer and a reclaim, beside the kernel's own offer and the look at each page
//! that tells what became of it.

use std::hint::black_box;
use std::time::Instant;

use vidmm::{Class, Outcome};

use crate::bench::map::{Map, Pages};
use crate::bench::row::{Row, Target};
use crate::bench::sample::{Samples, TURNS, by_turns, ns_each, ns_since};
use crate::bench::{page_bytes, pool_of};
use crate::output::Failure;

/// Our pairs of one sample.
const PAIRS: u32 = 10_000;

const LOOK: &str = "MADV_FREE + a look at each page";
const KEEP: &str = "MADV_FREE + a look at each page and a write that keeps it";
const HUGE: &str = "MADV_FREE + a look at each page, huge pages";

pub(crate) fn madv_free(
    name: &'static str,
    size_bytes: usize,
    times: f64,
) -> Result<Vec<Row>, Failure> {
    let row = |suffix, peer, samples: &Samples| {
        Row::new(&format!("{name}{suffix}"), size_bytes as u64, peer, samples)
    };
    let look = against(size_bytes, Pages::Small, false)?;
    let keep = against(size_bytes, Pages::Small, true)?;
    let mut rows = vec![
        row("", LOOK, &look).judged(Target::Ratio(times)),
        row("_kept", KEEP, &keep),
    ];
    if size_bytes >= crate::bench::map::HUGE_BYTES {
        rows.push(row(
            "_huge",
            HUGE,
            &against(size_bytes, Pages::Huge, false)?,
        ));
    }
    Ok(rows)
}

fn against(size_bytes: usize, pages: Pages, keep: bool) -> Result<Samples, Failure> {
    let pool = pool_of(2 * size_bytes as u64)?;
    let mut tile = pool.options().allocate_shared(size_bytes)?;
    tile.lock_mut()?.fill(1);
    let mut map = Map::fresh(size_bytes, pages)?;
    let page_bytes = page_bytes();

    by_turns(
        TURNS,
        || {
            let mut intact = true;
            let ns = ns_each(PAIRS, || {
                let tile = black_box(&tile);
                intact &= tile.offer(Class::Normal).is_ok();
                intact &= matches!(tile.reclaim(), Ok(Outcome::Intact));
            });
            if intact {
                Ok(ns)
            } else {
                Err("memory was discarded although nothing needed it".into())
            }
        },
        || {
            // In use since the last time, so that there is something to free and to lose.
            map.bytes_mut().fill(1);
            let start = Instant::now();
            map.free_lazily()?;
            let lost = map.lost_pages(page_bytes, keep);
            let ns = ns_since(start);
            black_box(lost);
            Ok(ns)
        },
    )
}

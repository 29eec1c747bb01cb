//! Against the results that libCacheSim's tests hold its own code to, on the trace that it ships
//! (`cloudPhysicsIO.oracleGeneral`), for caches of 128 MiB, 256 MiB and so on to 1 GiB: misses and
//! missed bytes, exact.
//!
//! The trace is not part of this repository. It is looked for in the folder that `VIDMM_TRACES`
//! names, else in `shared/traces` beside the repository; where there is none, this has nothing to
//! compare and passes.
//!
//! Not compared, since they are other algorithms there: its SLRU has four segments, its S3-FIFO puts
//! what comes before the cache is full into the main queue, and its Belady must keep what it missed.

use crate::support::online;
use std::io::Read;
use std::path::PathBuf;
use vidmm_replay::{Requests, replay};

const TRACE: &str = "cloudPhysicsIO.oracleGeneral.zst";

struct Published {
    policy: &'static str,
    missed: [u64; 8],
    missed_bytes: [u64; 8],
}

const PUBLISHED: [Published; 4] = [
    Published {
        policy: "lru",
        missed: [93374, 89783, 83572, 81722, 72494, 72104, 71972, 71704],
        missed_bytes: [
            4_214_303_232,
            4_061_242_368,
            3_778_040_320,
            3_660_569_600,
            3_100_927_488,
            3_078_128_640,
            3_075_403_776,
            3_061_662_720,
        ],
    },
    Published {
        policy: "fifo",
        missed: [93403, 89386, 84387, 84025, 72498, 72228, 72182, 72140],
        missed_bytes: [
            4_213_112_832,
            4_052_646_400,
            3_829_170_176,
            3_807_412_736,
            3_093_146_112,
            3_079_525_888,
            3_079_210_496,
            3_077_547_520,
        ],
    },
    Published {
        policy: "clock",
        missed: [93313, 89775, 83411, 81328, 74815, 72283, 71927, 64456],
        missed_bytes: [
            4_213_887_488,
            4_064_512_000,
            3_762_650_624,
            3_644_467_200,
            3_256_760_832,
            3_091_688_448,
            3_074_241_024,
            2_697_378_816,
        ],
    },
    Published {
        policy: "sieve",
        missed: [91699, 86720, 78578, 76707, 69945, 66221, 64445, 64376],
        missed_bytes: [
            4_158_632_960,
            3_917_211_648,
            3_536_227_840,
            3_455_379_968,
            3_035_580_416,
            2_801_699_328,
            2_699_456_000,
            2_696_345_600,
        ],
    },
];

fn trace() -> Option<Requests> {
    let folder = std::env::var_os("VIDMM_TRACES").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/traces"
            ))
        },
        PathBuf::from,
    );
    let packed = std::fs::File::open(folder.join(TRACE)).ok()?;
    let mut records = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed)
        .unwrap()
        .read_to_end(&mut records)
        .unwrap();
    let mut requests = Requests::default();
    // time, id, size, next: 4 + 8 + 4 + 8 bytes, the last unread
    for record in records.chunks_exact(24) {
        let time = u32::from_le_bytes(record[0..4].try_into().unwrap());
        let id = u64::from_le_bytes(record[4..12].try_into().unwrap());
        let size = u32::from_le_bytes(record[12..16].try_into().unwrap());
        requests.push(u64::from(time), id, u64::from(size), None);
    }
    Some(requests)
}

#[test]
fn libcachesim_has_the_same_misses() {
    let Some(requests) = trace() else {
        println!("no {TRACE}: nothing to compare");
        return;
    };
    assert_eq!(requests.len(), 113_872);
    for published in &PUBLISHED {
        let mut missed = [0; 8];
        let mut missed_bytes = [0; 8];
        for (step, (missed, missed_bytes)) in missed.iter_mut().zip(&mut missed_bytes).enumerate() {
            let size_bytes = (step as u64 + 1) << 27;
            let mut cache = online(published.policy).build(size_bytes, requests.objects(), 0);
            let found = replay(&requests, size_bytes, cache.as_mut(), |_| {});
            (*missed, *missed_bytes) = (found.missed, found.missed_bytes);
        }
        assert_eq!(missed, published.missed, "{}", published.policy);
        assert_eq!(missed_bytes, published.missed_bytes, "{}", published.policy);
    }
}

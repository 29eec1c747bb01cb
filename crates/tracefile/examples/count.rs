//! Counts the requests and objects of traces: `cargo run --release -p vidmm-tracefile --example
//! count -- FILE...`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), vidmm_tracefile::TraceError> {
    for path in std::env::args_os().skip(1) {
        let started = Instant::now();
        let trace = vidmm_tracefile::open(Path::new(&path), None)?;
        let format = trace.format();
        let mut sizes: HashMap<u64, u64> = HashMap::new();
        let mut requests = 0_u64;
        for access in trace {
            let access = access?;
            requests += 1;
            sizes.entry(access.id).or_insert(access.size_bytes);
        }
        let footprint: u64 = sizes.values().sum();
        eprintln!(
            "{}: {format}, {requests} requests, {} objects, footprint {footprint}, {:?}",
            Path::new(&path).display(),
            sizes.len(),
            started.elapsed()
        );
    }
    Ok(())
}

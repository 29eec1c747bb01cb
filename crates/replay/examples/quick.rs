#![allow(clippy::all, missing_docs, clippy::print_stdout)]
use vidmm_replay::*;
use std::sync::Mutex;
fn main() {
    let d = "/work/shared/traces/";
    let names = ["cloudPhysicsIO.oracleGeneral.zst","OLTP.lis.zst","adapt_size_request.trace.xz","address_penalties_gcc.trace.xz","lirs_sprite.trace.gz"];
    let best = [[0.96971,0.91809,0.82432,0.66731],[0.53541,0.37892,0.32101,0.24913],[0.70288,0.64134,0.62178,0.59387],[0.08251,0.07240,0.07102,0.06962],[0.78689,0.32492,0.13645,0.06426]];
    let lru = [[0.9800,0.9690,0.9518,0.8311],[0.5837,0.3992,0.3348,0.2557],[0.7235,0.6710,0.6483,0.6025],[0.0831,0.0735,0.0715,0.0701],[0.8367,0.3472,0.1376,0.0643]];
    let res = Mutex::new(vec![[0.0f64;4];5]);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let traces: Vec<Requests> = names.iter().map(|n| { let mut r = Requests::default(); for a in vidmm_tracefile::open(std::path::Path::new(&format!("{d}{n}")), None).unwrap() { let a = a.unwrap(); r.push(a.time,a.id,a.size_bytes,a.cost);} r }).collect();
    std::thread::scope(|s| { for _ in 0..2 { s.spawn(|| loop {
        let j = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed); if j >= 20 { break; }
        let (t,p) = (j/4, j%4);
        let size = (traces[t].footprint_bytes()/100*[1,5,10,30][p]).max(1);
        let mut c = Vidmm::new(size);
        let m = replay(&traces[t], size, &mut c, |_| ());
        res.lock().unwrap()[t][p] = m.cost_ratio().unwrap_or_else(|| m.byte_ratio());
    }); } });
    let r = res.lock().unwrap();
    let (mut gain, mut won) = (0.0, 0);
    for t in 0..5 { print!("{:8.8}", names[t]); for p in 0..4 { let w = r[t][p] <= best[t][p] + 0.00003; won += w as u32; gain += lru[t][p]-r[t][p]; print!(" {:.5}{}", r[t][p], if w {' '} else {'*'}); } println!(); }
    println!("won {won}, gain {:.4}, ratio {:.3}", gain/20.0, gain/20.0/0.0210);
}

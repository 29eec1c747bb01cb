//! `vidmm replay` as its users run it: figures that can be worked out by hand, the JSON that it
//! promises, pictures, and what is wrong with a trace or a command.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// All policies, in the order of the rows.
const POLICIES: [&str; 16] = [
    "random",
    "fifo",
    "clock",
    "lru",
    "slru",
    "2q",
    "arc",
    "lirs",
    "sieve",
    "s3-fifo",
    "w-tinylfu",
    "lecar",
    "gdsf",
    "lhd",
    "vidmm",
    "belady",
];

/// A directory of a test's own with a trace in it.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new(name: &str, content: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), content).unwrap();
        Bench { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All files in the directory.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn replay(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vidmm"))
            .arg("replay")
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.replay(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        // A line of progress comes every few seconds, so on a busy machine there may be one.
        let is_progress =
            |line: &str| line.starts_with("reading ") || line.starts_with("replaying ");
        assert!(stderr.lines().all(is_progress), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.stdout(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The status of a run that fails, and what it says.
    fn failure(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.replay(arguments);
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        (output.status.code(), stderr)
    }
}

/// `time,id,size,cost`, of `requests` requests that come back to some objects more than to others.
fn csv(requests: u64, name: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut text = String::from("time,id,size,cost\n");
    let mut state = 1_u64;
    for time in 0..requests {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let draw = (state >> 33) % 10_000;
        let id = draw * draw / 300_000;
        let size_bytes = 100 + id * 37 % 900;
        writeln!(text, "{time},{},{size_bytes},{}", name(id), 1 + id % 5).unwrap();
    }
    text.into_bytes()
}

fn rows(report: &Value) -> &Vec<Value> {
    report["rows"].as_array().unwrap()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name}: {row}"))
}

/// Rows without what differs from run to run.
fn figures(report: &Value) -> Vec<Value> {
    let mut rows = rows(report).clone();
    for row in &mut rows {
        row.as_object_mut().unwrap().remove("requests_per_second");
    }
    rows
}

#[test]
fn figures_are_those_that_can_be_worked_out_by_hand() {
    // Room for two. LRU: c takes the place of b, then b that of c, then a is still there.
    let bench = Bench::new(
        "a.csv",
        b"1,1,10,4\n2,2,10,1\n3,1,10,4\n4,3,10,1\n5,1,10,4\n6,2,10,1\n",
    );
    let report = bench.json(&["a.csv", "--policy", "lru,belady", "--size", "20"]);
    assert_eq!(report["requests"], 6);
    assert_eq!(report["objects"], 3);
    assert_eq!(report["footprint_bytes"], 30);
    let lru = &rows(&report)[0];
    assert!((number(lru, "miss_ratio") - 4.0 / 6.0).abs() < 1e-9);
    assert!((number(lru, "byte_miss_ratio") - 4.0 / 6.0).abs() < 1e-9);
    assert!((number(lru, "cost_miss_ratio") - 7.0 / 15.0).abs() < 1e-9);
    assert!((number(lru, "size_share") - 20.0 / 30.0).abs() < 1e-9);
    assert!(lru["exact"].is_null() && lru["error"].is_null());
    // Who knows the future does not keep c.
    let belady = &rows(&report)[1];
    assert!((number(belady, "miss_ratio") - 3.0 / 6.0).abs() < 1e-9);
    assert_eq!(belady["exact"]["requests"], true);
}

#[test]
fn the_json_has_what_is_promised_in_the_order_asked() {
    let bench = Bench::new("a.csv", &csv(3_000, |id| id));
    let report = bench.json(&[
        "a.csv", "--policy", "lru,FIFO", "--policy", "belady", "--size", "10%,4K", "--size", "100%",
    ]);
    assert_eq!(report["schema"], "vidmm.replay/1");
    assert_eq!(report["trace"], "a.csv");
    assert_eq!(report["format"], "csv");
    assert_eq!(report["has_costs"], true);
    assert_eq!(report["requests"], 3_000);
    assert!(report["sample"].is_null());
    assert_eq!(report["notes"].as_array().unwrap().len(), 0);
    let footprint_bytes = report["footprint_bytes"].as_u64().unwrap();
    let sizes = [footprint_bytes / 10, 4096, footprint_bytes];
    let order: Vec<(String, u64)> = rows(&report)
        .iter()
        .map(|row| {
            let policy = row["policy"].as_str().unwrap().to_owned();
            (policy, row["size_bytes"].as_u64().unwrap())
        })
        .collect();
    let asked: Vec<(String, u64)> = ["lru", "fifo", "belady"]
        .iter()
        .flat_map(|policy| sizes.map(|size| ((*policy).to_owned(), size)))
        .collect();
    assert_eq!(order, asked);
    for (place, row) in rows(&report).iter().enumerate() {
        let least = &rows(&report)[6 + place % 3];
        for name in ["miss_ratio", "byte_miss_ratio", "cost_miss_ratio"] {
            assert!((0.0..=1.0).contains(&number(row, name)), "{row}");
            assert!(
                number(row, name) >= number(least, name) - 1e-9,
                "{row} {least}"
            );
        }
        assert!(number(row, "requests_per_second") > 0.0);
        assert_eq!(row["exact"].is_object(), row["policy"] == "belady");
    }
    // All fits: only first accesses are missed.
    let ratio = report["objects"].as_f64().unwrap() / 3_000.0;
    assert!((number(&rows(&report)[2], "miss_ratio") - ratio).abs() < 1e-9);
    assert_eq!(rows(&report)[8]["exact"]["cost"], true);
}

#[test]
fn all_policies_at_four_sizes_are_the_default() {
    let bench = Bench::new("a.csv", &csv(1_000, |id| id));
    let report = bench.json(&["a.csv"]);
    let footprint_bytes = report["footprint_bytes"].as_u64().unwrap();
    assert_eq!(rows(&report).len(), POLICIES.len() * 4);
    for (place, row) in rows(&report).iter().enumerate() {
        assert_eq!(row["policy"], POLICIES[place / 4]);
        let percent = [1, 5, 10, 30][place % 4];
        assert_eq!(row["size_bytes"], footprint_bytes * percent / 100);
    }
    // All and one of them once more, as was asked.
    let report = bench.json(&["a.csv", "--policy", "all,lru", "--size", "5%"]);
    assert_eq!(rows(&report).len(), POLICIES.len() + 1);
    assert_eq!(figures(&report)[3], figures(&report)[POLICIES.len()]);
}

#[test]
fn the_table_has_names_sizes_and_who_missed_least() {
    let bench = Bench::new("a.csv", &csv(2_000, |id| id));
    let text = bench.stdout(&["a.csv", "--policy", "lru,fifo,belady", "--size", "1.5G,16K"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("a.csv: csv, 2000 requests for "),
        "{text}"
    );
    let head = lines
        .iter()
        .position(|line| line.starts_with("POLICY"))
        .unwrap();
    for word in ["SIZE", "SHARE", "REQUESTS", "BYTES", "COSTS"] {
        assert!(lines[head].contains(word), "{text}");
    }
    for (line, (name, size)) in lines[head + 1..].iter().zip([
        ("lru", "1.5 GiB"),
        ("lru", "16 KiB"),
        ("fifo", "1.5 GiB"),
        ("fifo", "16 KiB"),
        ("belady", "1.5 GiB"),
        ("belady", "16 KiB"),
    ]) {
        assert!(line.starts_with(name) && line.contains(size), "{text}");
    }
    assert!(
        lines[head + 5].ends_with("exact") && lines[head + 6].contains("a bound"),
        "{text}"
    );
    assert!(text.contains("Least cost missed at 16 KiB: lru "), "{text}");
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("million requests a second of a core"),
        "{text}"
    );
    assert!(!text.contains('±'), "{text}");
}

#[test]
fn what_a_trace_does_not_say_is_not_made_up() {
    // ids only: no sizes, no costs
    let ids: String = (0..200)
        .map(|place| format!("{}\n", place * place % 23))
        .collect();
    let bench = Bench::new("a.lirs", ids.as_bytes());
    let report = bench.json(&[
        "a.lirs", "--policy", "lru", "--size", "5", "--format", "lirs",
    ]);
    assert!(rows(&report)[0]["cost_miss_ratio"].is_null());
    assert_eq!(report["has_costs"], false);
    assert_eq!(report["footprint_bytes"], report["objects"]);
    let text = bench.stdout(&["a.lirs", "--policy", "lru,fifo", "--size", "5"]);
    assert!(
        !text.contains("COSTS") && text.contains("each object counts 1 byte"),
        "{text}"
    );
    assert!(text.contains("Least bytes missed at 5: "), "{text}");
}

#[test]
fn names_of_objects_change_no_result() {
    let name = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let (one, other) = (
        Bench::new("a.csv", &csv(3_000, |id| id)),
        Bench::new("a.csv", &csv(3_000, name)),
    );
    for arguments in [
        &["a.csv", "--size", "10%"][..],
        &[
            "a.csv",
            "--size",
            "20%",
            "--policy",
            "lru,random",
            "--sample",
            "40%",
        ],
    ] {
        assert_eq!(
            figures(&one.json(arguments)),
            figures(&other.json(arguments))
        );
    }
}

#[test]
fn a_run_differs_from_the_next_in_nothing_but_times() {
    let bench = Bench::new("a.csv", &csv(3_000, |id| id));
    let arguments = [
        "a.csv",
        "--size",
        "3%,30%",
        "--policy",
        "lecar,lhd,random,lru",
    ];
    assert_eq!(
        figures(&bench.json(&arguments)),
        figures(&bench.json(&arguments))
    );
}

#[test]
fn a_sample_says_what_it_is_and_how_far_it_may_be_off() {
    let bench = Bench::new("a.csv", &csv(30_000, |id| id));
    let whole = bench.json(&["a.csv", "--policy", "lru,belady", "--size", "50%"]);
    let arguments = [
        "a.csv",
        "--policy",
        "lru,belady",
        "--size",
        "50%",
        "--sample",
        "50%",
    ];
    let report = bench.json(&arguments);
    for name in ["footprint_bytes", "requests", "objects"] {
        assert_eq!(report[name], whole[name], "{name}");
    }
    let sample = &report["sample"];
    assert!((number(sample, "rate") - 0.5).abs() < 1e-9);
    let objects = number(sample, "objects") / number(&report, "objects");
    assert!((0.3..0.7).contains(&objects), "{sample}");
    for (estimate, exact) in rows(&report).iter().zip(rows(&whole)) {
        assert_eq!(estimate["size_bytes"], exact["size_bytes"]);
        for name in ["miss_ratio", "byte_miss_ratio", "cost_miss_ratio"] {
            let (estimate, error) = (number(estimate, name), number(&estimate["error"], name));
            assert!(
                (estimate - number(exact, name)).abs() < 5.0 * error,
                "{name}: {report}"
            );
        }
    }
    assert_eq!(rows(&report)[1]["exact"]["requests"], false);
    let text = bench.stdout(&arguments);
    assert!(
        text.contains(" ± 0.") && text.contains("A sample of 50 %"),
        "{text}"
    );
    // Few enough for `auto` to take them all.
    let auto = bench.json(&[
        "a.csv",
        "--policy",
        "lru,belady",
        "--size",
        "50%",
        "--sample",
        "auto",
    ]);
    assert_eq!(figures(&auto), figures(&whole));
    // Caches that hold next to nothing are no small pictures of large ones.
    let coarse = bench.json(&[
        "a.csv", "--policy", "lru", "--size", "16K", "--sample", "10%",
    ]);
    assert!(
        coarse["notes"][0]
            .as_str()
            .unwrap()
            .contains("larger sample"),
        "{coarse}"
    );
}

/// What is between the tags of a picture's texts.
fn texts(svg: &str) -> Vec<String> {
    let texts = svg.split("<text ").skip(1);
    texts
        .map(|text| {
            let inner = text.split_once('>').unwrap().1;
            inner.split_once("</text>").unwrap().0.trim().to_owned()
        })
        .collect()
}

#[test]
fn pictures_are_whole_and_show_every_policy() {
    let bench = Bench::new("a <&> b.csv", &csv(1_000, |id| id));
    let asked = ["lru", "fifo", "vidmm", "belady"];
    let arguments = [
        "a <&> b.csv",
        "--policy",
        "lru,fifo,vidmm,belady",
        "--plot",
        "a.svg",
        "--plot",
        "b.PNG",
    ];
    let report = bench.json(&arguments);
    // With a picture and no sizes: those of a curve.
    assert_eq!(rows(&report).len(), asked.len() * 12);
    assert_eq!(bench.files(), ["a <&> b.csv", "a.svg", "b.PNG"]);

    let svg = fs::read_to_string(bench.path("a.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(
        svg.matches("<text ").count(),
        svg.matches("</text>").count()
    );
    let texts = texts(&svg);
    for wanted in [
        "missed cost, as a part of all",
        "size of the cache",
        "share of the footprint",
        "a &lt;&amp;&gt; b.csv: what is missed, by policy and size",
        "10 %",
        "128 KiB",
    ] {
        assert!(
            texts.iter().any(|text| text == wanted),
            "{wanted}: {texts:?}"
        );
    }
    for name in asked {
        assert!(texts.iter().any(|text| text == name), "{name}: {texts:?}");
    }
    // Each policy's line has twelve corners, and a short one beside its name; ours is the boldest.
    let lines: Vec<&str> = svg.split("<polyline ").skip(1).collect();
    let corners = |line: &str| line.split("points=\"").nth(1).unwrap().matches(',').count();
    let curves: Vec<&&str> = lines.iter().filter(|line| corners(line) == 12).collect();
    assert_eq!(curves.len(), 3, "{svg}");
    let bold: Vec<_> = curves
        .iter()
        .filter(|line| line.contains("stroke-width=\"4\""))
        .collect();
    assert_eq!(bold.len(), 1, "{svg}");
    // The bound is dashed: many short ones, in grey.
    assert!(
        lines.iter().filter(|line| line.contains("#6E6E6E")).count() > 12,
        "{svg}"
    );

    let png = fs::read(bench.path("b.PNG")).unwrap();
    let image = image::load_from_memory(&png).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (1100, 680));
    let close = |pixel: &image::Rgb<u8>, wanted: [u8; 3]| {
        pixel
            .0
            .iter()
            .zip(wanted)
            .all(|(&is, wanted)| is.abs_diff(wanted) < 8)
    };
    let of = |wanted: [u8; 3]| image.pixels().filter(|pixel| close(pixel, wanted)).count();
    assert!(of([255; 3]) > image.pixels().len() / 2);
    // letters; and the two curves that are most to be told apart
    assert!(of([0; 3]) > 500 && of([200, 16, 46]) > 500 && of([110; 3]) > 100);
}

#[test]
fn a_picture_of_one_size_is_a_picture() {
    let bench = Bench::new("a.lirs", b"1\n2\n1\n");
    bench.stdout(&[
        "a.lirs", "--size", "1", "--plot", "a.svg", "--plot", "a.png",
    ]);
    let svg = fs::read_to_string(bench.path("a.svg")).unwrap();
    assert!(
        texts(&svg).contains(&"size of the cache, in objects".to_owned()),
        "{svg}"
    );
    assert!(
        texts(&svg).contains(&"missed bytes, as a part of all".to_owned()),
        "{svg}"
    );
    assert!(svg.matches("<circle ").count() >= POLICIES.len(), "{svg}");
    assert!(image::open(bench.path("a.png")).is_ok());
    // An old picture is replaced.
    bench.stdout(&[
        "a.lirs", "--size", "1,2", "--policy", "lru", "--plot", "a.svg",
    ]);
    let other = fs::read_to_string(bench.path("a.svg")).unwrap();
    assert_ne!(svg, other);
    assert_eq!(bench.files(), ["a.lirs", "a.png", "a.svg"]);
}

#[test]
fn what_cannot_be_drawn_is_refused_before_any_work() {
    let bench = Bench::new("a.lirs", b"1\n2\n1\n");
    // There is no such trace: that is not looked at.
    let (status, said) = bench.failure(&["nowhere", "--plot", "a.pdf"]);
    assert_eq!(status, Some(2));
    assert!(said.contains(".svg or .png"), "{said}");
    let (status, said) = bench.failure(&["nowhere", "--plot", "no/such/a.svg"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("no/such/a.svg") && said.contains("No such file"),
        "{said}"
    );
    fs::create_dir(bench.path("d.svg")).unwrap();
    let (status, said) = bench.failure(&["nowhere", "--plot", "d.svg"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("d.svg: it is a directory"), "{said}");
    assert_eq!(bench.files(), ["a.lirs", "d.svg"]);
}

#[test]
fn wrong_usage_is_told_what_is_right() {
    let bench = Bench::new("a.lirs", b"1\n2\n1\n");
    let wrong = |arguments: &[&str], wanted: &[&str]| {
        let (status, said) = bench.failure(&[&["a.lirs"], arguments].concat());
        assert_eq!(status, Some(2), "{said}");
        for word in wanted {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    wrong(&["--policy", "lru,lfu"], &POLICIES);
    wrong(&["--policy", ""], &["policy"]);
    wrong(&["--size", "0"], &["nothing", "5%"]);
    wrong(&["--size", "1%,0%"], &["nothing", "5%"]);
    wrong(&["--size", "200%"], &["100%"]);
    wrong(&["--size", "5MB"], &["1024"]);
    wrong(&["--size", "1%,"], &["empty"]);
    wrong(&["--sample", "0%"], &["auto"]);
    wrong(&["--sample", "5"], &["10%"]);
    wrong(&["--format", "arc"], &["oracle-general"]);
    let (status, said) = bench.failure(&[]);
    assert_eq!(status, Some(2));
    assert!(said.contains("TRACE"), "{said}");
}

fn refused(name: &str, content: &[u8], arguments: &[&str], wanted: &str) {
    let bench = Bench::new(name, content);
    let (status, said) = bench.failure(&[&[name], arguments].concat());
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.starts_with("vidmm: ") && said.contains(wanted),
        "{wanted}: {said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn traces_that_are_none_are_refused() {
    let bench = Bench::new("a.lirs", b"");
    let (status, said) = bench.failure(&["nowhere"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("nowhere") && said.contains("No such file"),
        "{said}"
    );
    let (status, said) = bench.failure(&["."]);
    assert_eq!(status, Some(1));
    assert!(said.contains("directory"), "{said}");

    refused("empty", b"", &[], "empty");
    refused("empty.csv", b"time,id,size\n", &[], "no requests");
    refused(
        "empty.csv",
        b"time,id,size\n",
        &["--sample", "1%"],
        "no requests",
    );
    refused("words", b"once upon a time\nthere was\n", &[], "words");
    refused("a.csv", b"1,1,10\n2,2,x\n", &[], "line 2");
    refused("a.csv", b"1,1,10\n2,2,x\n", &["--sample", "auto"], "line 2");
    // A sample of nothing, and caches of nothing.
    refused("a.csv", b"1,1,10\n", &["--sample", "0.0001%"], "larger one");
    refused(
        "a.csv",
        &csv(100, |id| id),
        &["--sample", "50%", "--size", "8"],
        "leaves nothing",
    );
}

#[test]
fn a_damaged_trace_is_named_with_the_place() {
    let mut packed = Vec::new();
    {
        use std::io::Write as _;
        let mut encoder =
            flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
        encoder.write_all(&csv(5_000, |id| id)).unwrap();
        encoder.finish().unwrap();
    }
    let bench = Bench::new("a.csv.gz", &packed);
    assert_eq!(
        bench.json(&["a.csv.gz", "--policy", "lru"])["requests"],
        5_000
    );
    refused(
        "a.csv.gz",
        &packed[..packed.len() / 2],
        &[],
        "a.csv.gz, about byte ",
    );
}

#[test]
fn an_output_that_takes_nothing_is_a_failure() {
    let bench = Bench::new("a.lirs", b"1\n2\n1\n");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vidmm"))
        .args(["replay", "a.lirs", "--policy", "lru"])
        .current_dir(bench.directory.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard output"), "{said}");
}

#[test]
fn help_has_examples_options_and_the_form_of_the_json() {
    let bench = Bench::new("a", b"");
    let help = bench.stdout(&["--help"]);
    for word in [
        "vidmm replay OLTP.lis.zst",
        "--policy",
        "--size",
        "--plot",
        "--sample",
        "--format",
        "--json",
        "Exit status",
        "cost_miss_ratio",
        "belady",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn sizes_beyond_all_measure_do_no_harm() {
    let mut text = String::new();
    for place in 0..300_u64 {
        let size_bytes = [u64::MAX, 1 << 62, 1 << 61, 0, 7][(place % 5) as usize];
        writeln!(
            text,
            "{place},{},{size_bytes},3e38",
            place * place % 31 * 5 + place % 5
        )
        .unwrap();
    }
    let bench = Bench::new("a.csv", text.as_bytes());
    let report = bench.json(&["a.csv", "--size", "1,3E,15E,50%,100%", "--plot", "a.svg"]);
    assert_eq!(rows(&report).len(), POLICIES.len() * 5);
    for row in rows(&report) {
        for name in ["miss_ratio", "byte_miss_ratio", "cost_miss_ratio"] {
            assert!((0.0..=1.0).contains(&number(row, name)), "{row}");
        }
    }
    bench.json(&["a.csv", "--size", "15E", "--sample", "70%"]);
}

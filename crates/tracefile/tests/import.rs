//! Public formats through files, plain and packed, whole and damaged.
#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

use std::io::Write;
use std::path::PathBuf;

use lzma_rust2::{XzOptions, XzWriter};
use proptest::prelude::*;
use tempfile::TempDir;
use vidmm_tracefile::{Access, Format, Packing, Place, TraceError, open};

/// A file in a directory of its own.
struct Trace {
    path: PathBuf,
    _directory: TempDir,
}

impl Trace {
    fn new(content: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        std::fs::write(&path, content).unwrap();
        Trace {
            path,
            _directory: directory,
        }
    }

    fn read(&self) -> Result<Vec<Access>, TraceError> {
        self.read_as(None)
    }

    fn read_as(&self, format: Option<Format>) -> Result<Vec<Access>, TraceError> {
        open(&self.path, format)?.collect()
    }
}

fn access(time: u64, id: u64, size_bytes: u64, cost: Option<f32>) -> Access {
    Access {
        time,
        id,
        size_bytes,
        cost,
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut packer = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(Packing, Pack); 3] = [
    (Packing::Gzip, gzip),
    (Packing::Zstd, zstd),
    (Packing::Xz, xz),
];

fn oracle_record(time: u32, id: u64, size: u32, next: i64) -> Vec<u8> {
    let mut bytes = time.to_le_bytes().to_vec();
    bytes.extend(id.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    bytes
}

#[test]
fn each_format_is_told_and_means_what_it_says() {
    let oracle = [
        oracle_record(5_633_898, 42_932_745, 512, 1),
        oracle_record(5_633_899, 42_932_745, 4096, -1),
    ]
    .concat();
    let cases: [(&[u8], Format, Vec<Access>); 8] = [
        (
            &oracle,
            Format::OracleGeneral,
            vec![
                access(5_633_898, 42_932_745, 512, None),
                access(5_633_899, 42_932_745, 4096, None),
            ],
        ),
        (
            b"7 3 0 0\n1 1 0 1\n9 0 0 2\n",
            Format::Lis,
            vec![
                access(0, 7, 1, None),
                access(1, 8, 1, None),
                access(2, 9, 1, None),
                access(3, 1, 1, None),
            ],
        ),
        (
            b"1 0 68\n2 1 7454\n2 0 69",
            Format::TimeIdSize,
            vec![
                access(1, 0, 68, None),
                access(2, 1, 7454, None),
                access(2, 0, 69, None),
            ],
        ),
        (
            b"s 0x1fffff50 1 1 100\nl 0x1fffff88 6 1 10\nl 0x1fffff50 1\n",
            Format::Penalties,
            vec![
                access(0, 0x1fff_ff50, 1, Some(100.0)),
                access(1, 0x1fff_ff88, 1, Some(10.0)),
                access(2, 0x1fff_ff50, 1, None),
            ],
        ),
        (
            b"5\n6\n*\n5\n",
            Format::Lirs,
            vec![
                access(0, 5, 1, None),
                access(1, 6, 1, None),
                access(2, 5, 1, None),
            ],
        ),
        (
            b"1,2,3\n4.75,0x5,6\r\n",
            Format::Csv,
            vec![access(1, 2, 3, None), access(4, 5, 6, None)],
        ),
        (
            b"time,id,size,cost\n1,2,3,1.5\n4,5,6,\n",
            Format::Csv,
            vec![access(1, 2, 3, Some(1.5)), access(4, 5, 6, None)],
        ),
        (
            b"# by hand\nSize, host ,Cost,ID,Time\n3,a,2,9,1\n",
            Format::Csv,
            vec![access(1, 9, 3, Some(2.0))],
        ),
    ];
    for (content, format, wanted) in cases {
        let trace = Trace::new(content);
        assert_eq!(open(&trace.path, None).unwrap().format(), format);
        assert_eq!(trace.read().unwrap(), wanted, "{format}");
    }
}

#[test]
fn a_format_that_is_named_is_believed() {
    // Four numbers look like runs; these are sections of one-column ids after all.
    let trace = Trace::new(b"1 1 0 0\n");
    let error = trace.read_as(Some(Format::Lirs)).unwrap_err();
    assert_eq!(error.place, Place::Line(1));
    assert!(error.problem.contains("one id or `*`"), "{error}");
    // And binary that could not be told.
    let goes_back = [oracle_record(5, 1, 1, -1), oracle_record(4, 1, 1, -1)].concat();
    let trace = Trace::new(&goes_back);
    assert!(trace.read().is_err());
    assert_eq!(trace.read_as(Some(Format::OracleGeneral)).unwrap().len(), 2);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cut = &oracle_record(1, 2, 3, -1).repeat(2)[..40];
    let cases: [(&[u8], Place, &str); 10] = [
        (cut, Place::Byte(24), "16 of 24 bytes"),
        (b"1 0 68\n2 1\n", Place::File, "line 2"),
        (b"time,id,size\n1,2\n", Place::Line(2), "no size"),
        (
            b"time,id,size\n1,2,3\n1,x,3\n",
            Place::Line(3),
            "the id \"x\"",
        ),
        (b"1,2,3\n1,2,-3\n", Place::Line(2), "the size \"-3\""),
        (b"1,2,3,4\n1,2,3,-4\n", Place::Line(2), "the cost \"-4\""),
        (b"1,2,3,4\n1,2,3,4,5\n", Place::Line(2), "5 values"),
        (b"1,2,3\nlater,2,3\n", Place::Line(2), "the time \"later\""),
        (
            b"18446744073709551615 2 0 0\n",
            Place::Line(1),
            "more than a trace can mean",
        ),
        (
            b"1 99999999999 0 0\n",
            Place::Line(1),
            "99999999999 accesses",
        ),
    ];
    for (content, place, wanted) in cases {
        let trace = Trace::new(content);
        let error = trace.read().unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert_eq!(error.path, trace.path);
        assert!(error.problem.contains(wanted), "{error}");
    }
    // Beyond what detection looks at.
    let mut long = b"1 2 3\n".repeat(50_000);
    long.extend(b"1 2\n");
    let error = Trace::new(&long).read().unwrap_err();
    assert_eq!(error.place, Place::Line(50_001));
    let mut endless = b"1 2 3\n".repeat(50_000);
    endless.resize(endless.len() + (1 << 20), b'7');
    let error = Trace::new(&endless).read().unwrap_err();
    assert!(error.problem.contains("longer than"), "{error}");
}

#[test]
fn packed_files_are_unpacked_in_parts_and_cut_ones_say_so() {
    let text: String = (0..40_000)
        .map(|n| format!("{n} {} {n}\n", n % 99))
        .collect();
    let wanted = Trace::new(text.as_bytes()).read().unwrap();
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    for (packing, pack) in PACKERS {
        let packed = [pack(first), pack(second)].concat();
        let trace = Trace::new(&packed);
        let mut accesses = open(&trace.path, None).unwrap();
        assert_eq!(accesses.packing(), packing);
        let read: Result<Vec<_>, _> = accesses.by_ref().collect();
        assert_eq!(read.unwrap(), wanted, "{packing:?}");
        assert_eq!(accesses.read_bytes(), packed.len() as u64);

        let cut = Trace::new(&packed[..packed.len() - 20]);
        let error = cut.read().unwrap_err();
        assert!(matches!(error.place, Place::PackedByte(_)), "{error}");
    }
}

#[test]
fn a_directory_and_an_empty_file_are_no_traces() {
    let trace = Trace::new(b"");
    assert!(trace.read().unwrap_err().problem.contains("empty"));
    let directory = trace.path.parent().unwrap();
    assert!(open(directory, None).is_err());
    assert!(open(&directory.join("missing"), None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file contains ends in accesses or in one error.
    #[test]
    fn any_bytes_end(content in prop::collection::vec(any::<u8>(), 0..400), format in 0..=Format::ALL.len()) {
        let format = Format::ALL.get(format).copied();
        let _ = Trace::new(&content).read_as(format);
    }

    /// A packed file with some bytes changed gives an error, or what it was made of.
    #[test]
    fn damaged_packings_end(which in 0..PACKERS.len(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let text: String = (0..500).map(|n| format!("{n} {} {n}\n", n % 7)).collect();
        let wanted = Trace::new(text.as_bytes()).read().unwrap();
        let (_, pack) = PACKERS[which];
        let mut packed = pack(text.as_bytes());
        let place = at.index(packed.len());
        packed[place] ^= bits;
        if let Ok(read) = Trace::new(&packed).read() {
            prop_assert_eq!(read, wanted);
        }
    }
}

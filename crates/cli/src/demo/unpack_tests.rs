//! Each kind of file, made here: whole, damaged, too big.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::demo::scratch::Scratch;
use crate::demo::sink::{Fixed, Growing};
use crate::demo::still::Still;

const LIMIT_BYTES: usize = 1 << 20;

/// Bytes that are not all alike and still shrink.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index * index % 251).unwrap())
        .collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A frame of one raw block (RFC 8878): magic, a descriptor saying "single segment, two bytes of
/// size", the size less 256, the block's header, the bytes.
fn zstd(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
    frame.extend_from_slice(&u16::try_from(content.len() - 256).unwrap().to_le_bytes());
    let header = u32::try_from(content.len()).unwrap() << 3 | 1;
    frame.extend_from_slice(&header.to_le_bytes()[..3]);
    frame.extend_from_slice(content);
    frame
}

fn zstd_skippable(length: u32) -> Vec<u8> {
    let mut frame = vec![0x50, 0x2a, 0x4d, 0x18];
    frame.extend_from_slice(&length.to_le_bytes());
    frame.resize(8 + length as usize, 0xaa);
    frame
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([
            u8::try_from(x % 256).unwrap(),
            u8::try_from(y % 256).unwrap(),
            9,
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn file(directory: &tempfile::TempDir, content: &[u8]) -> PathBuf {
    let path = directory.path().join("packed");
    fs::write(&path, content).unwrap();
    path
}

fn unpack_growing(path: &Path, kind: Kind, limit_bytes: usize) -> Result<Vec<u8>, UnpackError> {
    let scratch = Scratch::default();
    let mut held = scratch.hold(temporary_bytes(path, kind, limit_bytes)?);
    let mut sink = Growing::new(0, limit_bytes, 0, &mut held);
    unpack(path, kind, &mut sink)?;
    Ok(sink.into_bytes())
}

/// Both ways of unpacking give the content, also at the very limit; one byte less is refused.
fn check(kind: Kind, packed: &[u8], expected: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, packed);
    assert_eq!(unpack_growing(&path, kind, LIMIT_BYTES).unwrap(), expected);
    assert_eq!(
        unpack_growing(&path, kind, expected.len()).unwrap(),
        expected
    );
    let error = unpack_growing(&path, kind, expected.len() - 1).unwrap_err();
    assert!(matches!(error, UnpackError::TooBig { .. }), "{error}");

    let still = Still::default();
    let mut room = vec![0; expected.len()];
    let mut sink = Fixed::new(&mut room, &still);
    unpack(&path, kind, &mut sink).unwrap();
    sink.finish().unwrap();
    assert_eq!(room, expected);
    let mut more = vec![0; expected.len() + 1];
    let mut sink = Fixed::new(&mut more, &still);
    let outcome = unpack(&path, kind, &mut sink).and_then(|()| sink.finish());
    assert!(matches!(outcome, Err(UnpackError::Changed)), "{outcome:?}");
}

/// Cut short anywhere, a file never unpacks to what it was, and never panics.
fn check_cut(kind: Kind, packed: &[u8], expected: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let step = (packed.len() / 50).max(1);
    for length in (0..packed.len()).step_by(step) {
        let path = file(&directory, &packed[..length]);
        match unpack_growing(&path, kind, LIMIT_BYTES) {
            Err(UnpackError::Damaged(_)) => {}
            Ok(content) => assert_ne!(content, expected, "cut to {length}"),
            Err(error) => panic!("cut to {length}: {error}"),
        }
    }
}

/// With any byte changed, unpacking ends in some way, without a panic.
fn check_flipped(kind: Kind, packed: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let step = (packed.len() / 200).max(1);
    for place in (0..packed.len()).step_by(step) {
        let mut bad = packed.to_vec();
        bad[place] ^= 0x5a;
        let _ = unpack_growing(&file(&directory, &bad), kind, LIMIT_BYTES);
    }
}

fn check_all(kind: Kind, packed: &[u8], expected: &[u8]) {
    check(kind, packed, expected);
    check_cut(kind, packed, expected);
    check_flipped(kind, packed);
}

#[test]
fn gzip_of_one_member_and_of_two() {
    let content = content(200_000);
    check_all(Kind::Gzip, &gzip(&content), &content);
    let two = [gzip(&content[..70_000]), gzip(&content[70_000..])].concat();
    check(Kind::Gzip, &two, &content);
}

#[test]
fn a_damaged_gzip_is_told_by_its_checksum() {
    let directory = tempfile::tempdir().unwrap();
    let mut packed = gzip(&content(1000));
    let place = packed.len() - 6;
    packed[place] ^= 1;
    let path = file(&directory, &packed);
    assert!(matches!(
        unpack_growing(&path, Kind::Gzip, 2000),
        Err(UnpackError::Damaged(_))
    ));
    let still = Still::default();
    let mut room = vec![0; 1000];
    let outcome = unpack(&path, Kind::Gzip, &mut Fixed::new(&mut room, &still));
    assert!(matches!(outcome, Err(UnpackError::Damaged(_))));
}

#[test]
fn zstd_frames_with_a_skippable_one_between() {
    let content = content(5_000);
    check_all(Kind::Zstd, &zstd(&content), &content);
    let frames = [
        zstd(&content[..2_000]),
        zstd_skippable(77),
        zstd(&content[2_000..]),
    ]
    .concat();
    check(Kind::Zstd, &frames, &content);
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &zstd_skippable(77)[..40]);
    assert!(matches!(
        unpack_growing(&path, Kind::Zstd, 100),
        Err(UnpackError::Damaged(_))
    ));
}

#[test]
fn zip_entries_one_after_the_other() {
    let content = content(50_000);
    let packed = zip_of(&[
        ("a", &content[..10_000]),
        ("empty", b""),
        ("d/b", &content[10_000..]),
    ]);
    check_all(Kind::Zip, &packed, &content);
}

#[test]
fn png_as_rgba() {
    let mut expected = Vec::new();
    for y in 0..60_u8 {
        for x in 0..80_u8 {
            expected.extend_from_slice(&[x, y, 9, 255]);
        }
    }
    check_all(Kind::Png, &png(80, 60), &expected);
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &png(80, 60));
    // The file, its pixels as they are stored, its pixels as they are kept.
    let file_bytes = fs::metadata(&path).unwrap().len();
    let expected_bytes = file_bytes + 80 * 60 * 3 + 80 * 60 * 4;
    assert_eq!(
        temporary_bytes(&path, Kind::Png, LIMIT_BYTES).unwrap(),
        expected_bytes
    );
}

#[test]
fn jpeg_as_rgba() {
    let image = image::RgbImage::from_pixel(64, 48, image::Rgb([200, 100, 50]));
    let mut packed = Cursor::new(Vec::new());
    image.write_to(&mut packed, ImageFormat::Jpeg).unwrap();
    let packed = packed.into_inner();
    check_flipped(Kind::Jpeg, &packed);
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &packed);
    let pixels = unpack_growing(&path, Kind::Jpeg, LIMIT_BYTES).unwrap();
    assert_eq!(pixels.len(), 64 * 48 * 4);
    for (channel, expected) in [(0, 200_u8), (1, 100), (2, 50), (3, 255)] {
        assert!(pixels[4000 + channel].abs_diff(expected) < 6);
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &gzip(&vec![0; 50 << 20]));
    let scratch = Scratch::default();
    let mut held = scratch.hold(0);
    let mut sink = Growing::new(0, LIMIT_BYTES, 0, &mut held);
    let outcome = unpack(&path, Kind::Gzip, &mut sink);
    assert!(matches!(
        outcome,
        Err(UnpackError::TooBig {
            limit_bytes: LIMIT_BYTES
        })
    ));
    assert!(scratch.peak_bytes() <= 2 * size_u64(LIMIT_BYTES));
}

#[test]
fn an_image_that_claims_to_be_huge_is_refused_by_its_header() {
    let directory = tempfile::tempdir().unwrap();
    let mut packed = png(1, 1);
    // IHDR: width and height of 60,000 each, then its checksum made right again.
    packed[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut checksum = flate2::Crc::new();
    checksum.update(&packed[12..29]);
    packed[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    let path = file(&directory, &packed);
    assert!(temporary_bytes(&path, Kind::Png, LIMIT_BYTES).is_err());
}

#[test]
fn a_missing_file_cannot_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent.gz");
    assert!(matches!(
        unpack_growing(&path, Kind::Gzip, 1),
        Err(UnpackError::Open(_))
    ));
}

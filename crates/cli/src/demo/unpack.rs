//! Unpacking one file: gzip, Zstandard, zip, PNG, JPEG.
//!
//! Owns: the decoders and what is damaged, too big or empty. Must not know where the bytes go
//! (see [`Sink`]) nor what they are for.
//!
//! Files come from anywhere, so a file can be wrong in any way: everything here ends in an
//! [`UnpackError`], and nothing is allocated by a size that a file merely claims, beyond the limit.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::demo::inputs::Kind;
use crate::demo::sink::Sink;

/// The most that one file may unpack to.
pub(crate) const UNPACKED_MAX_BYTES: usize = 256 << 20;

/// The buffer between a packed file and its decoder.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Bytes of one pixel as the demo keeps it: red, green, blue, opacity.
const RGBA_BYTES: u64 = 4;

/// Why a file could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    #[error("is damaged or of an unsupported form: {0}")]
    Damaged(io::Error),
    #[error("unpacks to more than {} (limit for one file)", vidmm_machine::ByteSize(size_u64(*.limit_bytes)))]
    TooBig { limit_bytes: usize },
    #[error("unpacks to nothing")]
    Empty,
    #[error("has changed since the run began")]
    Changed,
}

/// How many bytes of scratch unpacking `path` takes beside what the sink holds: the read buffer,
/// and for images the decoded pixels. What decoders keep inside (up to a few hundred KiB; for
/// Zstandard its window) is not counted.
///
/// # Errors
/// If the file cannot be opened, or is an image with an unreadable header or more than
/// `limit_bytes` of pixels.
pub(crate) fn temporary_bytes(
    path: &Path,
    kind: Kind,
    limit_bytes: usize,
) -> Result<u64, UnpackError> {
    let format = match kind {
        Kind::Gzip | Kind::Zstd | Kind::Zip => return Ok(size_u64(READ_BUFFER_BYTES)),
        Kind::Png => ImageFormat::Png,
        Kind::Jpeg => ImageFormat::Jpeg,
    };
    let packed_bytes = std::fs::metadata(path).map_err(UnpackError::Open)?.len();
    let decoder = image_decoder(open(path)?, format, limit_bytes)?;
    let pixels_bytes = decoder.total_bytes().saturating_add(rgba_bytes(&decoder));
    Ok(packed_bytes.saturating_add(pixels_bytes))
}

/// Unpacks the whole of `path` into `sink`.
///
/// # Errors
/// See [`UnpackError`]; the sink may then hold a part.
pub(crate) fn unpack(path: &Path, kind: Kind, sink: &mut dyn Sink) -> Result<(), UnpackError> {
    let mut source = open(path)?;
    match kind {
        Kind::Gzip => sink.fill(&mut MultiGzDecoder::new(source)),
        Kind::Zstd => unpack_zstd(&mut source, sink),
        Kind::Zip => unpack_zip(source, sink),
        Kind::Png => unpack_image(source, ImageFormat::Png, sink),
        Kind::Jpeg => unpack_image(source, ImageFormat::Jpeg, sink),
    }
}

fn open(path: &Path) -> Result<BufReader<File>, UnpackError> {
    let file = File::open(path).map_err(UnpackError::Open)?;
    Ok(BufReader::with_capacity(READ_BUFFER_BYTES, file))
}

/// All frames one after the other, without the skippable ones.
fn unpack_zstd(source: &mut impl BufRead, sink: &mut dyn Sink) -> Result<(), UnpackError> {
    let mut decoder = FrameDecoder::new();
    while !source.fill_buf().map_err(UnpackError::Damaged)?.is_empty() {
        match StreamingDecoder::new_with_decoder(&mut *source, &mut decoder) {
            Ok(mut frame) => sink.fill(&mut frame)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                skip(source, u64::from(length))?;
                continue;
            }
            Err(error) => return Err(damaged(error)),
        }
        let wanted = decoder.get_checksum_from_data();
        if wanted.is_some() && wanted != decoder.get_calculated_checksum() {
            return Err(damaged("a frame's checksum does not match its content"));
        }
    }
    Ok(())
}

fn skip(source: &mut impl Read, length_bytes: u64) -> Result<(), UnpackError> {
    let skipped_bytes = io::copy(&mut source.take(length_bytes), &mut io::sink());
    if skipped_bytes.map_err(UnpackError::Damaged)? < length_bytes {
        return Err(damaged("ends inside a skippable frame"));
    }
    Ok(())
}

/// The entries' contents one after the other, in the archive's order.
fn unpack_zip(source: BufReader<File>, sink: &mut dyn Sink) -> Result<(), UnpackError> {
    let mut archive = zip::ZipArchive::new(source).map_err(damaged)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        if !entry.is_dir() {
            sink.fill(&mut entry)?;
        }
    }
    Ok(())
}

fn unpack_image(
    source: BufReader<File>,
    format: ImageFormat,
    sink: &mut dyn Sink,
) -> Result<(), UnpackError> {
    let decoder = image_decoder(source, format, sink.limit_bytes())?;
    let pixels = DynamicImage::from_decoder(decoder)
        .map_err(damaged)?
        .into_rgba8();
    sink.fill(&mut pixels.as_raw().as_slice())
}

/// Reads an image's header and refuses images that would not fit `limit_bytes`.
fn image_decoder(
    source: BufReader<File>,
    format: ImageFormat,
    limit_bytes: usize,
) -> Result<impl ImageDecoder, UnpackError> {
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::no_limits();
    // Samples of up to 16 bits in up to four channels, and what the decoder needs beside them.
    limits.max_alloc = Some(size_u64(limit_bytes).saturating_mul(3).max(1 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    if rgba_bytes(&decoder) > size_u64(limit_bytes) {
        return Err(UnpackError::TooBig { limit_bytes });
    }
    Ok(decoder)
}

fn rgba_bytes(decoder: &impl ImageDecoder) -> u64 {
    let (width, height) = decoder.dimensions();
    (u64::from(width) * u64::from(height)).saturating_mul(RGBA_BYTES)
}

fn damaged(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UnpackError {
    UnpackError::Damaged(io::Error::other(cause))
}

/// A size in memory as a 64-bit number: the one place where the demo converts.
pub(crate) fn size_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

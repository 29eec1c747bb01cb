//! gzip, Zstandard, xz: told by their magic numbers, unpacked as streams.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, StreamingDecoder};

/// What a file is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Nothing.
    None,
    /// gzip, one member or many.
    Gzip,
    /// Zstandard, one frame or many.
    Zstd,
    /// xz, one stream or many.
    Xz,
}

/// The buffer on either side of a decoder.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// The most memory that a decoder may take because a file says so: enough for every level of the
/// usual programs (`xz -9` and `zstd -19` want 64 MiB and 8 MiB), little enough for a small machine.
const DECODER_MAX_BYTES: u64 = 128 << 20;

impl Packing {
    /// What a file is packed with that begins with `head` (at least six bytes, or all there is).
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::None,
        }
    }
}

/// The unpacked content.
pub(crate) type Content = Box<dyn BufRead + Send>;

/// The content of `source`, which is packed with `packing`.
pub(crate) fn unpack(source: impl BufRead + Send + 'static, packing: Packing) -> Content {
    // A decoder's answers are small; whoever reads lines wants larger pieces.
    match packing {
        Packing::None => Box::new(source),
        Packing::Gzip => buffered(MultiGzDecoder::new(source)),
        Packing::Zstd => buffered(Zstd::new(source)),
        Packing::Xz => {
            let limit_kib = u32::try_from(DECODER_MAX_BYTES >> 10).unwrap_or(u32::MAX);
            buffered(XzReader::new_mem_limit(source, true, limit_kib))
        }
    }
}

fn buffered(content: impl Read + Send + 'static) -> Content {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, content))
}

/// All frames of a Zstandard file, one after the other, without the skippable ones.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(DECODER_MAX_BYTES);
        Zstd {
            source,
            decoder,
            in_frame: false,
        }
    }

    /// Whether there is a further frame; its header has been read then.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match StreamingDecoder::new_with_decoder(&mut self.source, &mut self.decoder) {
                Ok(_) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame's checksum does not match its content",
            ));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                self.in_frame = self.begin_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.end_frame()?,
                count => return Ok(count),
            }
        }
    }
}

/// Counts what is read of a file, so that somebody else can show how far it is.
#[derive(Debug)]
pub(crate) struct Counted<R> {
    source: R,
    count_bytes: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(crate) fn new(source: R, count_bytes: Arc<AtomicU64>) -> Self {
        Counted {
            source,
            count_bytes,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

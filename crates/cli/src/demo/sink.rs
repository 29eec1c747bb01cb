//! Where unpacked bytes go: a buffer that grows up to a limit, or a slice of exactly known length.

use std::io::{ErrorKind, Read};

use crate::demo::scratch::Held;
use crate::demo::still::{STROKE_BYTES, Still};
use crate::demo::unpack::UnpackError;

/// How much a growing buffer asks for at a time, at least.
const STEP_BYTES: usize = 64 << 10;

/// Takes unpacked bytes in order.
pub(crate) trait Sink {
    /// How many bytes it takes in all.
    fn limit_bytes(&self) -> usize;

    /// Takes everything that `source` still yields.
    ///
    /// # Errors
    /// What `source` says, or [`UnpackError::TooBig`] with the sink partly filled.
    fn fill(&mut self, source: &mut dyn Read) -> Result<(), UnpackError>;
}

/// A buffer that grows as bytes come, and keeps its hold on the scratch meter up to date.
#[derive(Debug)]
pub(crate) struct Growing<'a, 'b> {
    bytes: Vec<u8>,
    limit_bytes: usize,
    held: &'a mut Held<'b>,
    /// What the hold covered before this buffer grew.
    base_bytes: u64,
}

impl<'a, 'b> Growing<'a, 'b> {
    /// A buffer with room for `expected_bytes`, taking at most `limit_bytes`. `base_bytes` of
    /// `held` are for other buffers.
    pub(crate) fn new(
        expected_bytes: usize,
        limit_bytes: usize,
        base_bytes: u64,
        held: &'a mut Held<'b>,
    ) -> Self {
        let bytes = Vec::with_capacity(expected_bytes.min(limit_bytes));
        let mut sink = Self {
            bytes,
            limit_bytes,
            held,
            base_bytes,
        };
        sink.account();
        sink
    }

    /// The bytes taken.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn account(&mut self) {
        let capacity_bytes = u64::try_from(self.bytes.capacity()).unwrap_or(u64::MAX);
        self.held
            .grow_to(self.base_bytes.saturating_add(capacity_bytes));
    }
}

impl Sink for Growing<'_, '_> {
    fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    fn fill(&mut self, source: &mut dyn Read) -> Result<(), UnpackError> {
        loop {
            if self.bytes.len() == self.limit_bytes {
                return expect_end(source, self.limit_bytes);
            }
            if self.bytes.capacity() == self.bytes.len() {
                self.bytes
                    .try_reserve(STEP_BYTES.min(self.limit_bytes - self.bytes.len()))
                    .map_err(|_| UnpackError::TooBig {
                        limit_bytes: self.limit_bytes,
                    })?;
                self.account();
            }
            let free_bytes = self.bytes.capacity() - self.bytes.len();
            let step_bytes = free_bytes.min(self.limit_bytes - self.bytes.len());
            let step_bytes_u64 = u64::try_from(step_bytes).unwrap_or(u64::MAX);
            let taken = source.take(step_bytes_u64).read_to_end(&mut self.bytes);
            if taken.map_err(UnpackError::Damaged)? < step_bytes {
                return Ok(());
            }
        }
    }
}

/// A slice that must be filled exactly, stroke by stroke.
#[derive(Debug)]
pub(crate) struct Fixed<'a> {
    room: &'a mut [u8],
    used_bytes: usize,
    still: &'a Still,
}

impl<'a> Fixed<'a> {
    pub(crate) fn new(room: &'a mut [u8], still: &'a Still) -> Self {
        Self {
            room,
            used_bytes: 0,
            still,
        }
    }

    /// Ends the filling.
    ///
    /// # Errors
    /// [`UnpackError::Changed`] if fewer bytes came than the slice holds.
    pub(crate) fn finish(self) -> Result<(), UnpackError> {
        if self.used_bytes == self.room.len() {
            Ok(())
        } else {
            Err(UnpackError::Changed)
        }
    }
}

impl Sink for Fixed<'_> {
    fn limit_bytes(&self) -> usize {
        self.room.len()
    }

    fn fill(&mut self, source: &mut dyn Read) -> Result<(), UnpackError> {
        while self.used_bytes < self.room.len() {
            let stroke_end = self.room.len().min(self.used_bytes + STROKE_BYTES);
            let stroke = self.still.stroke();
            let taken = source.read(&mut self.room[self.used_bytes..stroke_end]);
            drop(stroke);
            match taken {
                Ok(0) => return Ok(()),
                Ok(taken_bytes) => self.used_bytes += taken_bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(UnpackError::Damaged(error)),
            }
        }
        // Also makes decoders verify the checksum that follows the last byte.
        match expect_end(source, self.room.len()) {
            Err(UnpackError::TooBig { .. }) => Err(UnpackError::Changed),
            other => other,
        }
    }
}

/// Makes sure that `source` has nothing more to give.
fn expect_end(source: &mut dyn Read, limit_bytes: usize) -> Result<(), UnpackError> {
    let mut one_more = [0_u8];
    loop {
        match source.read(&mut one_more) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(UnpackError::TooBig { limit_bytes }),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Damaged(error)),
        }
    }
}

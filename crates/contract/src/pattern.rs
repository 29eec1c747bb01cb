//! Contents that can be told apart and checked byte for byte, at the speed of a copy.

use std::sync::OnceLock;

/// Contents are made of pieces of this size.
const PIECE_BYTES: usize = 4096;

/// Where in the noise a piece can begin.
const STARTS: usize = 8192;

/// A content number `seed`: any two of them differ in (nearly) every byte of every piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern(pub u64);

impl Pattern {
    /// Writes it, from its first byte on.
    pub fn fill(self, bytes: &mut [u8]) {
        for (number, piece) in (0_u64..).zip(bytes.chunks_mut(PIECE_BYTES)) {
            let len = piece.len();
            let mark = self.mark(number);
            piece.copy_from_slice(&noise()[start(mark)..][..len]);
            let marked = len.min(mark.len());
            piece[..marked].copy_from_slice(&mark[..marked]);
        }
    }

    /// Whether it is what `bytes` hold, every one of them.
    #[must_use]
    pub fn is_in(self, bytes: &[u8]) -> bool {
        (0_u64..)
            .zip(bytes.chunks(PIECE_BYTES))
            .all(|(number, piece)| {
                let mark = self.mark(number);
                let marked = piece.len().min(mark.len());
                piece[..marked] == mark[..marked]
                    && piece[marked..] == noise()[start(mark)..][marked..piece.len()]
            })
    }

    /// What makes piece `number` unlike every other piece.
    fn mark(self, number: u64) -> [u8; 16] {
        let mut mark = [0; 16];
        let (seed, place) = mark.split_at_mut(8);
        seed.copy_from_slice(&mixed(self.0).to_le_bytes());
        place.copy_from_slice(&mixed(self.0 ^ mixed(number)).to_le_bytes());
        mark
    }
}

fn start(mark: [u8; 16]) -> usize {
    let low = u16::from_le_bytes([mark[8], mark[9]]);
    usize::from(low) % STARTS
}

/// A permutation of the numbers without visible order (the finalizer of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        (0..(STARTS + PIECE_BYTES) as u64 / 8)
            .flat_map(|number| mixed(number).to_le_bytes())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_wrong_byte_anywhere_is_seen() {
        for len in [1, 15, 16, 17, 4096, 4097, 12_289] {
            let mut bytes = vec![0; len];
            Pattern(7).fill(&mut bytes);
            assert!(Pattern(7).is_in(&bytes));
            assert!(len < 2 || !Pattern(8).is_in(&bytes));
            for place in [0, len / 2, len - 1] {
                bytes[place] ^= 1;
                assert!(!Pattern(7).is_in(&bytes), "{place} of {len}");
                bytes[place] ^= 1;
            }
        }
    }

    #[test]
    fn pieces_differ_within_a_content_and_between_two() {
        let mut one = vec![0; 3 * PIECE_BYTES];
        let mut other = one.clone();
        Pattern(1).fill(&mut one);
        Pattern(2).fill(&mut other);
        let (first, rest) = one.split_at(PIECE_BYTES);
        assert_ne!(first, &rest[..PIECE_BYTES]);
        let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same < one.len() / 64, "{same} of {}", one.len());
    }
}

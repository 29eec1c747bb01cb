//! Ranks: which offered allocation is discarded first, for vidmm.

//! Slots, handles and the lock-free offer/reclaim protocol of vidmm.

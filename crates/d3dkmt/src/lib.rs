//! The D3DKMT functions.

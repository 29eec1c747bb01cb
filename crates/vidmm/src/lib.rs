//! Offer memory you could rebuild, reclaim it when you need it, be told whether it was discarded.

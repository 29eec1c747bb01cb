//! WDDM types.

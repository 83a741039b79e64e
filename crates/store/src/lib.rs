//! leveret-store.

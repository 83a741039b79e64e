//! leveret-engine.

//! leveret-codec.

//! leveret-protocol.
